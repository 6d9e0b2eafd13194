"use strict";
// What the page asks the server for.

let token = sessionStorage.getItem("textgen token") ?? "";

class ServerError extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

// Resolves to a response, or throws what the server says against it.
async function ask(path, body, signal) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const options = { headers, signal };
  if (body) {
    headers["Content-Type"] = "application/json";
    Object.assign(options, { method: "POST", body: JSON.stringify(body) });
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError("The server doesn't answer. Is it still running?");
  }
  if (response.ok) return response;
  let message = `The server answers ${response.status}.`;
  try {
    message = (await response.json()).error.message;
  } catch {
    // It is no error of the server itself, but of what stands between.
  }
  throw new ServerError(message, response.status);
}

// Yields the events of an answer that comes in pieces.
async function* stream(path, body, signal) {
  const response = await ask(path, { ...body, stream: true }, signal);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const lost = new ServerError("The connection was lost. What has come is kept.");
  for (let left = ""; ; ) {
    const part = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : lost;
    });
    if (part.done) throw lost;
    const events = (left + part.value).split("\n\n");
    left = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const value = JSON.parse(data);
      if (value.error) throw new ServerError(value.error.message);
      yield value;
    }
  }
}
