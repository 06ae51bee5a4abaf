// The other side's children: the same app behind workerpool's protocol, and nothing at all behind it.
import workerpool from 'workerpool'
import { execute } from './noop-app.mjs'

workerpool.worker({ execute, nothing: (_delivery) => true })
