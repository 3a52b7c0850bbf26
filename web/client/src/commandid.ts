/**
 * CommandIds makes command ids: UUIDs of version 7, by the server's clock. One that is made later sorts later, also
 * within a millisecond, for the server forgets old ids in their order.
 */
export class CommandIds {
  private offset = 0; // what the server's clock is ahead
  private last = 0; // milliseconds of the last id
  private count = 0; // counts within a millisecond, 12 bits

  /** learn takes what the server's clock showed between two moments of ours. */
  learn(serverTime: string, asked: number, answered: number): void {
    const server = Date.parse(serverTime);
    if (Number.isFinite(server)) {
      this.offset = server - (asked + answered) / 2;
    }
  }

  /** next returns a new id. */
  next(): string {
    const random = crypto.getRandomValues(new Uint8Array(10));
    const now = Math.floor(Date.now() + this.offset);
    if (now > this.last) {
      this.last = now;
      this.count = (((random[8] ?? 0) << 8) | (random[9] ?? 0)) & 0x7ff; // the upper half is room to count
    } else if (++this.count > 0xfff) {
      this.last++;
      this.count = 0;
    }
    const hex = (n: number, digits: number) => n.toString(16).padStart(digits, "0");
    const time = hex(this.last, 12);
    const tail = [...random.subarray(0, 8)].map((b, i) => hex(i === 0 ? (b & 0x3f) | 0x80 : b, 2)).join("");
    return `${time.slice(0, 8)}-${time.slice(8)}-7${hex(this.count, 3)}-${tail.slice(0, 4)}-${tail.slice(4)}`;
  }
}
