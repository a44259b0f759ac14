// What the page asks of the shop, by way of the monitor.

/** POST a body; returns the status, what the status means, and the answer. */
export async function post(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    return { status: 0, ok: false, body: {}, said: "The monitor does not answer; is the shop still running?" };
  }
  const read = await answer.json().catch(() => ({}));
  return { status: answer.status, ok: answer.ok, body: read, said: describe(answer, read) };
}

/** GET something; null if it is not there, undefined if nobody can say. */
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
  if (answer.status === 201) return "201 Created: it is a fact";
  if (answer.status === 202) return "202 Accepted: not done yet, and pending";
  const wrong = (body.errors ?? []).map((each) => `${each.pointer.slice(1)} ${each.detail}`);
  return `${answer.status} ${body.title ?? answer.statusText}: ${wrong.length ? wrong.join("; ") : (body.detail ?? "")}`;
}
