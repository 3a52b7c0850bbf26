/** safely calls what the client's user gave. What that throws is reported as uncaught, and does not stop the client. */
export function safely<A extends unknown[]>(listener: ((...args: A) => void) | undefined, ...args: A): void {
  try {
    listener?.(...args);
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
