import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Push } from "../src/index.js";
import { Server, states, until } from "./server.js";

const server = new Server();
before(() => server.start());
const wires: Wire[] = [];
after(async () => {
  wires.forEach((wire) => wire.close());
  await server.remove();
});

test("streams go on and commands are decided once, though the server is killed again and again", async () => {
  const olga = server.client("olga");
  const alice = server.client("alice");
  const seen: string[] = [];
  let begun = 0;
  let recovered = true;
  const listening = (async () => {
    for await (const push of alice.watch("session/watch-broadcasts", {}, { onBegin: () => begun++ })) {
      recovered &&= push.recovered;
      seen.push(...push.result.broadcasts.map((b) => b.text));
    }
  })().catch((e: Error) => e);
  let credit = "";
  const stop = alice.subscribe("cloud-user/watch-account", {}, { onPush: (push) => (credit = push.result.account?.credit ?? "") });
  await until("the stream begins", () => begun > 0);

  const said: string[] = [];
  let granted = 0;
  let talking = true;
  const talk = (async () => {
    for (let i = 0; talking; i++) {
      const text = `broadcast ${i}`;
      await olga.call("cloud-operator/broadcast", { text, severity: "SEVERITY_INFO" });
      said.push(text);
      await olga.call("cloud-operator/grant-credit", { userId: "sandbox|alice", amount: "1" });
      granted++;
    }
  })();
  for (let kill = 1; kill <= 3; kill++) {
    await sleep(300);
    await server.end("SIGKILL");
    await server.start();
    await until(`the stream begins after kill ${kill}`, () => begun > kill);
  }
  await sleep(200);
  talking = false;
  await talk;

  await until("everything is heard", () => seen.length >= said.length);
  assert.deepEqual(seen, said);
  assert.ok(recovered, "something was lost");
  assert.ok(said.length > 10, `only ${said.length} were said`);
  await until("the account shows what was granted", () => credit === String(granted));
  const { transactions } = await alice.call("cloud-user/list-transactions", { pageSize: 500 });
  assert.equal(transactions.length, granted);
  stop();
  alice.close();
  olga.close();
  await listening;
});

test("a stream goes on after a position of an earlier client", async () => {
  const olga = server.client("olga");
  const first = server.client("alice");
  const watch = first.watch("session/watch-broadcasts", {});
  const next = watch.next();
  await sleep(300);
  await olga.call("cloud-operator/broadcast", { text: "heard", severity: "SEVERITY_INFO" });
  const push = (await next).value as Push<"session/watch-broadcasts">;
  first.close();
  for (const text of ["missed 1", "missed 2"]) {
    await olga.call("cloud-operator/broadcast", { text, severity: "SEVERITY_INFO" });
  }
  const second = server.client("alice");
  const missed: string[] = [];
  for await (const p of second.watch("session/watch-broadcasts", {}, { after: push.position })) {
    missed.push(...p.result.broadcasts.map((b) => b.text));
    if (missed.length >= 2) {
      break;
    }
  }
  assert.deepEqual(missed, ["missed 1", "missed 2"]);
  second.close();
  olga.close();
});

/** Wire stands between client and server, and can lose what the server says. */
class Wire {
  losing = false;
  lost = 0;
  port = 0;
  private readonly sockets = new Set<Socket>();
  private readonly listener = createServer((near) => {
    const [host, port] = server.addresses!.api.split(":");
    const far = connect(Number(port), host);
    for (const s of [near, far]) {
      this.sockets.add(s);
      s.on("error", () => {});
      s.on("close", () => (near.destroy(), far.destroy()));
    }
    near.pipe(far);
    far.on("data", (bytes) => (this.losing ? (this.lost += bytes.length) : near.write(bytes)));
  });

  async open(): Promise<this> {
    wires.push(this);
    await new Promise<void>((done) => this.listener.listen(0, "127.0.0.1", done));
    this.port = (this.listener.address() as { port: number }).port;
    return this;
  }

  cut(): void {
    this.losing = false;
    this.sockets.forEach((s) => s.destroy());
  }

  close(): void {
    this.listener.close();
    this.cut();
  }
}

test("a command whose answer was lost is sent again, and applied once", async () => {
  const wire = await new Wire().open();
  const olga = server.client("olga", { url: `http://127.0.0.1:${wire.port}/ws` });
  const seen = states(olga);
  await olga.ready();
  const before = BigInt((await olga.call("cloud-operator/grant-credit", { userId: "somebody", amount: "7" })).credit);
  wire.losing = true;
  const answer = olga.call("cloud-operator/grant-credit", { userId: "somebody", amount: "7" });
  await until("the server answers and nobody hears it", () => wire.lost > 0);
  wire.cut();
  assert.equal(BigInt((await answer).credit), before + 7n);
  const after = await olga.call("cloud-operator/grant-credit", { userId: "somebody", amount: "1" });
  assert.equal(BigInt(after.credit), before + 8n);
  assert.equal(seen.filter((s) => s.name === "open").length, 2);
  olga.close();
});

test("a server that takes and never answers is left", async () => {
  const wire = await new Wire().open();
  const alice = server.client("alice", { url: `ws://127.0.0.1:${wire.port}/ws`, patience: 1_000 });
  await alice.ready();
  wire.losing = true;
  const call = alice.call("cloud-user/get-account", {});
  await until("the client gives the connection up", () => alice.state.name !== "open");
  wire.losing = false;
  assert.equal((await call).account?.userId, "sandbox|alice");
  alice.close();
});

test("a server that has gone without a word is noticed, though nothing is asked of it", async () => {
  const wire = await new Wire().open();
  const alice = server.client("alice", { url: `ws://127.0.0.1:${wire.port}/ws`, heartbeat: 500, patience: 1_000 });
  let begun = 0;
  alice.subscribe("cloud-user/watch-account", {}, { onPush: () => {}, onBegin: () => begun++ });
  await until("the stream begins", () => begun === 1);
  await sleep(2_000);
  assert.equal(begun, 1, "a silent server that answers was left");
  wire.losing = true;
  await until("the client gives the connection up", () => alice.state.name !== "open");
  wire.losing = false;
  await until("the stream goes on", () => begun === 2);
  alice.close();
});
