import workerpool from 'workerpool'

workerpool.worker({ noop: (..._args) => true })
