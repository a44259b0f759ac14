// Requests to the shop, forwarded by the monitor.

/** Send a POST request; returns the status, the response body and a message for the user. */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    return { status: 0, ok: false, body: {}, message: "The monitor does not respond. Is the shop still running?" };
  }
  const read = await answer.json().catch(() => ({}));
  return { status: answer.status, ok: answer.ok, body: read, message: describe(answer, read) };
}

/** Send a GET request; null for 404, undefined for any other failure. */
export async function get(path) {
  try {
    const answer = await fetch(path);
    if (answer.status === 404) return null;
    return answer.status === 200 ? await answer.json() : undefined;
  } catch {
    return undefined;
  }
}

function describe(answer, body) {
  if (answer.status === 201) return "201 Created";
  if (answer.status === 202) return "202 Accepted: still pending";
  const wrong = (body.errors ?? []).map((each) => `${each.pointer.slice(1)} ${each.detail}`);
  return `${answer.status} ${body.title ?? answer.statusText}: ${wrong.length ? wrong.join("; ") : (body.detail ?? "")}`;
}
