import { once } from 'node:events'
import { createServer, connect as dial, type Server, type Socket } from 'node:net'

type Side = 'client' | 'server'

/** One connection through the proxy. */
interface Pair {
  readonly client: Socket
  readonly server: Socket
}

/** Stands between a program and a server, passes on what they say to each other, and fails the way networks do. */
export class TcpProxy implements AsyncDisposable {
  private readonly pairs = new Set<Pair>()
  private readonly silenced = new Set<Side>()
  private held: (() => void)[] = []
  /** What one side may still say before its connection is cut; null: all it likes. */
  private allowance: { readonly side: Side; left: number; readonly spent: () => void } | null = null

  private constructor(
    private readonly listener: Server,
    private readonly target: { readonly host: string; readonly port: number },
    readonly port: number,
  ) {
    listener.on('connection', (client) => this.join(client))
  }

  static async open(target: { readonly host: string; readonly port: number }): Promise<TcpProxy> {
    const listener = createServer()
    listener.listen(0, '127.0.0.1')
    await once(listener, 'listening')
    const address = listener.address()
    if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
    return new TcpProxy(listener, target, address.port)
  }

  /** Ends every connection at once, as a cable that is pulled and noticed. */
  cut(): void {
    for (const { client, server } of this.pairs) {
      client.resetAndDestroy()
      server.resetAndDestroy()
    }
  }

  /** Ends the connection on which one side has said this many bytes more, on whichever; the last of them arrive. Resolves then. */
  cutAfter(bytes: number, side: Side = 'client'): Promise<void> {
    return new Promise((resolve) => {
      this.allowance = { side, left: bytes, spent: resolve }
    })
  }

  /** Passes on nothing any more, and ends nothing: a machine that hangs, or a firewall that forgot. */
  freeze(): void {
    this.silence('client')
    this.silence('server')
  }

  /** Passes on nothing of what one side says. */
  silence(side: Side): void {
    this.silenced.add(side)
  }

  /** Passes on what was held back, and what comes. */
  thaw(): void {
    this.silenced.clear()
    for (const pass of this.held.splice(0)) pass()
  }

  /** Takes no new connections, and ends those there are. */
  async refuse(): Promise<void> {
    const closed = once(this.listener, 'close')
    this.listener.close()
    this.cut()
    await closed
  }

  /** Takes connections again, at the same port. */
  async accept(): Promise<void> {
    this.listener.listen(this.port, '127.0.0.1')
    await once(this.listener, 'listening')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.held = []
    if (this.listener.listening) await this.refuse()
    else this.cut()
  }

  private join(client: Socket): void {
    const server = dial(this.target)
    const pair = { client, server }
    this.pairs.add(pair)
    for (const [from, to, side] of [
      [client, server, 'client'],
      [server, client, 'server'],
    ] as const) {
      from.on('data', (bytes) => this.say(side, pair, to, bytes as Buffer))
      from.on('error', () => {}) // a close follows
      from.on('close', () =>
        this.pass(side, () => {
          this.pairs.delete(pair)
          to.destroy()
        }),
      )
    }
  }

  private pass(side: Side, what: () => void): void {
    if (this.silenced.has(side)) this.held.push(what)
    else what()
  }

  private say(side: Side, pair: Pair, to: Socket, bytes: Buffer): void {
    const { allowance } = this
    if (allowance?.side !== side || bytes.length < allowance.left) {
      if (allowance?.side === side) allowance.left -= bytes.length
      this.pass(side, () => to.write(bytes))
      return
    }
    this.allowance = null
    to.write(bytes.subarray(0, allowance.left), () => {
      pair[side].resetAndDestroy()
      to.destroy()
      allowance.spent()
    })
  }
}
