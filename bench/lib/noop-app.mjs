// What a process of each pool is given to run: a task that does nothing.
import { createApp } from '../../dist/index.js'

export const app = createApp({ database: 'sqlite::memory:' })

app.task('noop', (..._args) => true)

/** What a child of ours does with a delivery, for the children of other pools. */
export const execute = (delivery) => app.execute(delivery, async () => {}, new AbortController().signal)
