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

/** The value of an answer that a panel or a form shows; money with the symbol of the currency. */
export function shownValue({ field, money }, answer) {
  const { code, decimals } = page.currency;
  const value = answer[field];
  return money ? (value / 10 ** decimals).toLocaleString("en", { style: "currency", currency: code }) : value.toLocaleString("en");
}
