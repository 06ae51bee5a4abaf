// What a process of each pool is given to run: nothing.
import { createApp } from '../../dist/index.js'

export const app = createApp({ database: 'sqlite::memory:' })

app.task('noop', (..._args) => true)
