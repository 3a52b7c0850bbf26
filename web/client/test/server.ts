import { spawn, type ChildProcess } from "node:child_process";
import { webcrypto } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";
import { MarketplaceClient, type Options, type State } from "../src/index.js";

globalThis.crypto ??= webcrypto as Crypto; // Node 18 keeps it to itself

interface Addresses {
  api: string;
  admin: string;
  issuer: string;
  grid_proxy: string;
}

/** Server is the real program in its sandbox, as a process that can be killed and started again on the same data. */
export class Server {
  addresses: Addresses | undefined;
  private readonly data = join(mkdtempSync(join(tmpdir(), "marketplace-")), "data");
  private readonly settings: Record<string, string>;
  private readonly clients: MarketplaceClient[] = [];
  private process: ChildProcess | undefined;

  constructor(settings: Record<string, string> = {}) {
    this.settings = settings;
  }

  /** start starts it, where it was reached before, and waits until it is ready. */
  async start(): Promise<this> {
    const program = process.env["SERVER_BINARY"];
    if (!program) {
      throw new Error("SERVER_BINARY must name the server; make test-client builds it");
    }
    const host = (url: string | undefined) => (url ? new URL(url.replace(/^(?!http)/, "http://")).host : "127.0.0.1:0");
    const a = this.addresses;
    rmSync(join(this.data, "listening.json"), { force: true });
    this.process = spawn(program, ["serve"], {
      stdio: ["ignore", "ignore", "inherit"],
      env: {
        ...process.env,
        MARKETPLACE_DATA: this.data, MARKETPLACE_LOG_LEVEL: "error", MARKETPLACE_SANDBOX_STEP_DELAY: "0s", MARKETPLACE_GATEWAY_DRAIN: "1s",
        MARKETPLACE_LISTEN_API: host(a?.api), MARKETPLACE_LISTEN_ADMIN: host(a?.admin),
        MARKETPLACE_SANDBOX_ISSUER: host(a?.issuer), MARKETPLACE_SANDBOX_GRIDPROXY: host(a?.grid_proxy),
        ...this.settings,
      },
    });
    for (let waited = 0; !(await this.ready()); waited += 20) {
      if (waited > 30_000 || this.process.exitCode !== null) {
        throw new Error("the server did not become ready");
      }
      await sleep(20);
    }
    return this;
  }

  private async ready(): Promise<boolean> {
    try {
      this.addresses = JSON.parse(readFileSync(join(this.data, "listening.json"), "utf8")) as Addresses;
      return (await fetch(`http://${this.addresses.admin}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  /** end sends a signal and waits until the process is gone. */
  async end(signal: NodeJS.Signals): Promise<void> {
    const running = this.process;
    if (running && running.exitCode === null && running.signalCode === null) {
      const gone = new Promise((done) => running.once("exit", done));
      running.kill(signal);
      await gone;
    }
  }

  /** remove ends it and its clients, also those that a failed test left behind, and forgets its data. */
  async remove(): Promise<void> {
    this.clients.forEach((client) => client.close());
    await this.end("SIGKILL");
    rmSync(join(this.data, ".."), { recursive: true, force: true });
  }

  /** token signs a person in at the sandbox's issuer. */
  async token(username: string): Promise<string> {
    const form = new URLSearchParams({ grant_type: "password", username });
    const answer = await fetch(`${this.addresses?.issuer.replace(/\/$/, "")}/oauth/token`, { method: "POST", body: form });
    return ((await answer.json()) as { access_token: string }).access_token;
  }

  /** client connects somebody. */
  client(username: string, options: Partial<Options> = {}): MarketplaceClient {
    const client = new MarketplaceClient({
      url: `ws://${this.addresses?.api}/ws`, token: () => this.token(username), WebSocket, maxPause: 200, ...options,
    });
    this.clients.push(client);
    return client;
  }
}

/** states records what a client went through. */
export function states(client: MarketplaceClient): State[] {
  const seen = [client.state];
  client.onState((state) => seen.push(state));
  return seen;
}

/** until waits until something is so. */
export async function until(what: string, so: () => boolean, within = 15_000): Promise<void> {
  for (let waited = 0; !so(); waited += 10) {
    if (waited > within) {
      throw new Error(`it does not happen that ${what}`);
    }
    await sleep(10);
  }
}
