import type { TaskRow } from '../ledger/row.js'
import type { Column } from './table.js'
import { formatAge, localInstant } from './time.js'

export const taskColumns = (now: number): Column<TaskRow>[] => [
  { heading: 'Submitted', value: (row) => localInstant(row.submittedAt) },
  { heading: 'Age', value: (row) => formatAge(now - row.submittedAt.getTime()), align: 'right' },
  { heading: 'Status', value: (row) => row.status },
  { heading: 'Queue', value: (row) => row.queue, shrinks: true },
  { heading: 'Task', value: (row) => row.task, shrinks: true },
  { heading: 'Id', value: (row) => row.taskId },
  { heading: 'Error', value: (row) => (row.errorType ? `${row.errorType}: ${row.errorMessage ?? ''}` : ''), shrinks: true },
]
