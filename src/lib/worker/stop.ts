/**
 * Has a body stop. The signal is made when somebody first looks at it: that takes longer than a short task, and few tasks ask.
 */
export class Stop {
  private controller: AbortController | null = null

  get signal(): AbortSignal {
    this.controller ??= new AbortController()
    return this.controller.signal
  }

  get aborted(): boolean {
    return this.controller?.signal.aborted ?? false
  }

  /** @param reason what the body is to end with */
  abort(reason: Error): void {
    this.controller ??= new AbortController()
    this.controller.abort(reason)
  }
}
