// Both streams of the 4.x line. Prints {trades: [...], bars: [...], quotes, ticks, waited, errors}.
import { Alpaca } from "alpaca-4";

const [base, socket] = process.argv.slice(2);
const alpaca = new Alpaca({
  keyId: "key",
  secret: "secret",
  retry: false,
  rateLimit: false,
  fetchApi: (url, init) => fetch(base + new URL(url).pathname + new URL(url).search, init),
});
const clock = (body) => fetch(`${base}/sim/clock`, { method: "POST", body: JSON.stringify(body) });
const seen = { trades: [], bars: [], quotes: 0, ticks: 0, waited: null, errors: [] };
async function until(what, condition) {
  for (let tries = 0; !condition(); tries += 1) {
    if (tries > 500) throw new Error(`never seen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const updates = alpaca.trading.stream({ url: `${socket}/stream` });
let listening = false;
updates.onError((error) => seen.errors.push(error));
updates.on("subscription", () => (listening = true));
updates.onTradeUpdate((update) => seen.trades.push(update));
updates.onConnect(() => updates.subscribeTradeUpdates());
updates.connect();

const data = alpaca.marketData.stockStream({ url: `${socket}/v2/iex` });
let subscribed = false;
data.onError((error) => seen.errors.push(error));
data.on("subscription", () => (subscribed = true));
data.onBar((bar) => seen.bars.push(bar));
data.onQuote(() => (seen.quotes += 1));
data.onTrade(() => (seen.ticks += 1));
data.onConnect(() => {
  data.subscribeForBars(["AAPL", "MSFT"]);
  data.subscribeForQuotes(["AAPL"]);
  data.subscribeForTrades(["AAPL"]);
});
data.connect();
await until("listening", () => listening);
await until("subscription", () => subscribed);

await alpaca.trading.orders.market({ symbol: "AAPL", qty: 3, side: "buy", clientOrderId: "streamed" });
for (let minute = 0; minute < 5; minute += 1) await clock({ advance_seconds: 60 });
await until("a fill", () => seen.trades.some((update) => update.event === "fill"));
await until("ten bars", () => seen.bars.length >= 10);

const ticking = setInterval(() => clock({ advance_seconds: 60 }), 100);
seen.waited = await alpaca.trading.submitAndWait(
  { type: "market", symbol: "MSFT", qty: 1, side: "buy" },
  { stream: updates, timeoutMs: 20000 },
);
clearInterval(ticking);
updates.disconnect();
data.disconnect();
process.stdout.write(JSON.stringify(seen), () => process.exit(0));
