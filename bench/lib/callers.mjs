/** Calls a second, by `inFlight` callers of which each waits for its own call. */
export async function callsASecond(count, inFlight, call) {
  const from = performance.now()
  let left = count
  const caller = async () => {
    while (left-- > 0) await call()
  }
  await Promise.all(Array.from({ length: inFlight }, caller))
  return count / ((performance.now() - from) / 1000)
}
