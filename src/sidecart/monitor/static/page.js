// The description of the page: lifelines, panels and forms, from the topology and the gateway.

const RETRY_MS = 2000;

async function load() {
  for (;;) {
    try {
      const answer = await fetch("/page");
      if (answer.ok) return await answer.json();
    } catch {
      // the monitor is restarting
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

export const page = await load();
