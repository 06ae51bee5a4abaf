import { type AddressInfo, connect, createServer, type Socket } from 'node:net'

/** Where a connection is cut: a client's text that is not passed on, or is and whose answer is not. */
export interface Cut {
  readonly text: string
  readonly when: 'before' | 'after'
}

/** A way to a server that can be cut. `await using` closes it. */
export interface Passage extends AsyncDisposable {
  readonly port: number
  /** Cuts the next connection on which a client says this, and only that. */
  cutAt(cut: Cut): void
  /** From now on nothing of the server's that holds this text is passed on. */
  withhold(text: string): void
  /** Ends all connections, and takes no more until `open`. */
  close(): void
  open(): void
}

export async function openProxy(host: string, port: number): Promise<Passage> {
  const sockets = new Set<Socket>()
  let cut: Cut | null = null
  let closed = false
  let withheld: string | null = null
  const end = (...both: readonly Socket[]) => {
    for (const socket of both) socket.destroy()
  }
  const server = createServer((client) => {
    if (closed) return end(client)
    const upstream = connect(port, host)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => end(client, upstream))
      socket.on('close', () => {
        sockets.delete(socket)
        end(client, upstream)
      })
    }
    let mute = false
    upstream.on('data', (chunk: Buffer) => {
      if (mute) end(client, upstream)
      else if (withheld === null || !chunk.includes(withheld)) client.write(chunk)
    })
    client.on('data', (chunk: Buffer) => {
      if (cut && chunk.includes(cut.text)) {
        const { when } = cut
        cut = null
        if (when === 'before') return end(client, upstream)
        mute = true
      }
      upstream.write(chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    port: (server.address() as AddressInfo).port,
    cutAt: (at) => {
      cut = at
    },
    withhold: (text) => {
      withheld = text
    },
    close: () => {
      closed = true
      end(...sockets)
    },
    open: () => {
      closed = false
    },
    async [Symbol.asyncDispose]() {
      end(...sockets)
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
