"""The machines that `TF_CONFIG` names: which of them this is, and what is refused."""

import json

import pytest

from textgen.errors import OptionError
from textgen.training import cluster as module
from textgen.training.cluster import cluster_of

HERE, THERE = "10.0.0.1:5000", "10.0.0.2:5000"


def config(jobs, job="worker", index=0):
    return json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})


def read(text):
    return cluster_of("multiworker", 60, {"TF_CONFIG": text})


def test_the_first_worker_leads_unless_there_is_a_chief():
    first, second = (read(config({"worker": [HERE, THERE]}, index=n)) for n in (0, 1))
    assert (first.is_chief, second.is_chief) == (True, False)
    assert second.name(0) == f"the chief ({HERE})"
    assert second.name(second.index) == f"worker 1 ({THERE})"
    jobs = {"worker": [HERE], "chief": [THERE]}
    worker, chief = read(config(jobs)), read(config(jobs, "chief"))
    assert (worker.index, chief.index) == (1, 0)
    assert chief.addresses == (THERE, HERE)
    assert chief.tasks == (("chief", 0), ("worker", 0))


def test_workers_on_one_host_share_its_cores(monkeypatch):
    monkeypatch.setattr(module, "available_cores", lambda: 6)
    three = {"worker": [HERE, THERE, "10.0.0.1:5001"]}
    assert [read(config(three, index=n)).cores for n in range(3)] == [3, 6, 3]
    monkeypatch.setattr(module, "available_cores", lambda: 1)
    assert read(config(three)).cores == 1


@pytest.mark.parametrize("distribute", [None, "mirrored"])
def test_other_trainings_have_no_cluster(distribute):
    assert cluster_of(distribute, 60, {"TF_CONFIG": "nonsense"}) is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "isn't set"),
        ("", "isn't set"),
        ("{", "but it was '{' \\(Expecting property"),
        ("[]", "but it was"),
        ("{}", "but it was"),
        (config({}), "there is no worker 0"),
        (config([HERE]), "but it was"),
        (config({"worker": [HERE]}, index="x"), "invalid literal"),
        (config({"worker": [HERE]}, index=1), "there is no worker 1"),
        (config({"worker": [HERE]}, "evaluator"), "no evaluator"),
        (config({"worker": [HERE], "ps": [THERE]}), "no ps"),
        (config({"chief": [HERE, THERE]}, "chief"), "one chief"),
        (config({"worker": [HERE, HERE]}), "is there twice"),
        (config({"worker": ["10.0.0.1"]}), "isn't HOST:PORT"),
        (config({"worker": [HERE, 5]}), "isn't HOST:PORT"),
    ],
)
def test_what_names_no_machines_is_told_in_one_line(text, said):
    environment = {} if text is None else {"TF_CONFIG": text}
    with pytest.raises(OptionError, match=said) as caught:
        cluster_of("multiworker", 60, environment)
    assert "`distribute` multiworker expects the machines in TF_CONFIG" in str(
        caught.value
    )
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("distribute", "timeout", "said"),
    [("tpu", 60, "mirrored, multiworker"), (None, 0, "`peer_timeout` must be"),
     ("mirrored", "soon", "`peer_timeout` must be")],
)  # fmt: skip
def test_other_ways_and_timeouts_are_refused(distribute, timeout, said):
    with pytest.raises(OptionError, match=said):
        cluster_of(distribute, timeout, {})
