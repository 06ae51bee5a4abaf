import assert from 'node:assert/strict'
import { join } from 'node:path'
import ts from 'typescript'
import { ROOT } from '../helpers/run.js'

/** Tasks and signatures that the programs below are about. */
const TASKS = `
import type { App, AsyncResult, GroupResult } from '../../src/index.js'
import { chain, chord, group } from '../../src/index.js'
declare const app: App
const add = app.task('add', (x: number, y: number) => x + y)
const multiply = app.task('multiply', async (x: number, y: number) => x * y)
const shout = app.task('shout', (text: string, mark?: string) => text + (mark ?? '!'))
const tsum = app.task('tsum', (numbers: number[]) => numbers.length)
const join = app.task('join', (first: string, ...rest: string[]) => [first, ...rest].join())
const size = app.task('size', (text: string) => text.length)
const nothing = app.task('nothing', () => {})
const bound = app.task({ name: 'bound', bind: true }, (task, x: number) => [task.request.id, x] as const)
const told = app.task({ name: 'told', errback: true }, (request, error: ErrbackError, traceback: string | null, whom: string) =>
  [request, error, traceback, whom].length)
const onId = app.task('onId', (taskId: string) => taskId)
const numbers = [1, 2, 3]
`
  .replace('(request,', '(request: ErrbackRequest,')
  .replace('GroupResult }', 'ErrbackError, ErrbackRequest, GroupResult }')

/** What each program is, and the type that \`value\` is to have; null: anything it compiles with. */
const COMPILE: readonly (readonly [what: string, code: string, type: string | null])[] = [
  ['a task called directly', 'const value = add(2, 2)', 'number'],
  ['a task published', 'const value = await add.delay(2, 2)', 'AsyncResult<number>'],
  ['the value of an asynchronous task', 'const value = await (await multiply.delay(2, 2)).get()', 'number'],
  ['a whole signature sent', 'const value = await add.s(2, 2).applyAsync()', 'AsyncResult<number>'],
  ['a partial signature sent with what is missing', 'const value = await add.s(2).applyAsync({ args: [1] })', 'AsyncResult<number>'],
  ['a partial signature sent with delay', 'const value = await add.s().delay(1, 2)', 'AsyncResult<number>'],
  ['a partial signature sent with kwargs', 'const value = await add.s().applyAsync({ kwargs: { x: 1, y: 2 } })', 'AsyncResult<number>'],
  ['a clone with one of two arguments', 'const value = await add.s().clone([2]).applyAsync({ args: [1] })', 'AsyncResult<number>'],
  ['an optional argument left out', "const value = await shout.s('hey').applyAsync()", 'AsyncResult<string>'],
  ['a task of any number of arguments', "const value = await join.s('a', 'b', 'c').applyAsync()", 'AsyncResult<string>'],
  ['a chain', 'const value = await chain(multiply.s(5, 5), add.s(4), multiply.s(8)).applyAsync()', 'AsyncResult<number>'],
  ['a chain given as a list', 'const value = await chain([multiply.s(5, 5), add.s(4)]).applyAsync()', 'AsyncResult<number>'],
  ['the value of a chain of two types', "const value = await (await chain(shout.s('x'), join.s('y')).applyAsync()).get()", 'string'],
  ['a chain made with pipe', 'const value = await multiply.s(5, 5).pipe(add.s(4)).pipe(multiply.s(8)).applyAsync()', 'AsyncResult<number>'],
  ['an immutable step after anything', "const value = await chain(shout.s('x'), add.si(1, 1)).applyAsync()", 'AsyncResult<number>'],
  ['a step that has an optional argument', "const value = await chain(shout.s('x'), shout.s('?')).applyAsync()", 'AsyncResult<string>'],
  ['a chain of nine steps', `const value = await chain(add.s(1, 1), ${'add.s(1), '.repeat(8)}).applyAsync()`, 'AsyncResult<number>'],
  [
    'a chain that begins with a partial step',
    'const value = await chain(add.s(4), add.s(4)).applyAsync({ args: [1] })',
    'AsyncResult<number>',
  ],
  ['an empty chain', 'const value = await chain().applyAsync()', 'null'],
  ['a group of an array', 'const value = await group(numbers.map((n) => add.s(n, n))).applyAsync()', 'GroupResult<number[]>'],
  ['a group of several types', "const value = await (await group(add.s(1, 1), shout.s('x')).applyAsync()).get()", '[number, string]'],
  [
    'a group in a group',
    "const value = await (await group(add.s(1, 1), group(shout.s('x'), tsum.s([]))).applyAsync()).get()",
    '[number, string, number]',
  ],
  [
    'a group of chains',
    'const value = await (await group(numbers.map((n) => chain(add.s(n, n), shout.si("x")))).applyAsync()).get()',
    'string[]',
  ],
  [
    'a chain that ends in a group',
    'const value = await chain(add.s(1, 1), group(add.s(1), multiply.s(2))).applyAsync()',
    'GroupResult<[number, number]>',
  ],
  [
    'a group in a chain',
    'const value = await chain(add.s(1, 1), group(add.s(1), multiply.s(2)), tsum.s()).applyAsync()',
    'AsyncResult<number>',
  ],
  ['a group of one in a chain', 'const value = await chain(group(add.s(1, 1)), add.s(4)).applyAsync()', 'AsyncResult<number>'],
  ['a chord', 'const value = await chord(numbers.map((n) => add.s(n, n)), tsum.s()).applyAsync()', 'AsyncResult<number>'],
  ['a chord of a group', 'const value = await chord(group(add.s(1, 1), add.s(2, 2)), tsum.s()).applyAsync()', 'AsyncResult<number>'],
  ['a group piped into a body', 'const value = await group(add.s(1, 1), add.s(2, 2)).pipe(tsum.s()).applyAsync()', 'AsyncResult<number>'],
  [
    'chords chained together',
    'const value = await chain(chord([add.s(1, 1)], tsum.s()), chord([add.s(2), multiply.s(3)], tsum.s())).applyAsync()',
    'AsyncResult<number>',
  ],
  [
    'a group of partial signatures',
    'const value = await group(add.s(1), multiply.s(2)).applyAsync({ args: [5] })',
    'GroupResult<[number, number]>',
  ],
  ['a map', 'const value = await (await tsum.map([[1, 2], [3]]).applyAsync()).get()', 'number[]'],
  ['a map of a task with an optional argument', "const value = await (await shout.map(['a']).applyAsync()).get()", 'string[]'],
  ['a starmap', 'const value = await (await add.starmap(numbers.map((n) => [n, n])).applyAsync()).get()', 'number[]'],
  ['chunks', 'const value = await (await add.chunks(numbers.map((n) => [n, n]), 10).group().skew(1, 3).applyAsync()).get()', 'number[][]'],
  ['a callback, and several', 'const value = await add.applyAsync([5, 5], { link: [add.s(35), shout.si("x")] })', 'AsyncResult<number>'],
  [
    'errbacks of both kinds',
    "const value = await add.applyAsync([5, 5], { linkError: [told.s('me'), onId.s(), nothing.si()] })",
    'AsyncResult<number>',
  ],
  [
    'links of a signature',
    "const value = await add.s(1, 1).link(add.s(1)).onError(told.s('me')).set({ queue: 'q' }).applyAsync()",
    'AsyncResult<number>',
  ],
  ['a bound task', 'const value = await (await chain(add.s(1, 1), bound.s()).applyAsync()).get()', 'readonly [string, number]'],
  [
    'errors in the place of values',
    'const value = await (await group(add.s(1, 1)).applyAsync()).get({ propagate: false })',
    '[number | TaskError]',
  ],
  ['a signature by its name', "const value = await app.signature<string>('x').applyAsync({ args: [1] })", 'AsyncResult<string>'],
  [
    'a chain of typed and untyped steps',
    "const value = await chain(app.signature<number>('x'), add.s(1)).applyAsync()",
    'AsyncResult<number>',
  ],
  [
    'steps nobody counted',
    'const value = await chain(numbers.map((n) => add.s(n))).applyAsync({ args: [1] })',
    'AsyncResult<number> | null',
  ],
  [
    'steps nobody counted, of several types',
    'const value = await chain([add.s(1, 1), multiply.si(1, 1)].reverse()).applyAsync()',
    'AsyncResult<number> | null',
  ],
  ['a signature from its JSON', 'const value = await app.signature({ task: "x" }).applyAsync()', 'Result<unknown> | null'],
]

/** What must not compile, and what the compiler is to say. */
const REFUSED: readonly (readonly [what: string, code: string, message: RegExp])[] = [
  ['an argument of the wrong type', "add.s('4')", /'string' is not assignable to type 'number'/],
  ['one argument too many', 'add.s(1, 2, 3)', /not assignable/],
  ['an immutable signature that is not whole', 'add.si(1)', /Expected 2 arguments, but got 1/],
  ['a partial signature sent as it is', 'add.s(4).applyAsync()', /Source has 0 element\(s\) but target requires 1/],
  ['a partial signature sent with too little', 'add.s().applyAsync({ args: [1] })', /Source has 1 element\(s\) but target requires 2/],
  ['a step that is whole already', 'chain(multiply.s(5, 5), add.s(5, 5))', /Source has 1 element\(s\) but target allows only 0/],
  ['a step that takes another type', "chain(shout.s('x'), add.s(4))", /Type 'string' is not assignable to type 'number'/],
  ['the same deep in a chain', "chain(add.s(1, 1), add.s(1), shout.si('x'), add.s(1))", /Type 'string' is not assignable to type 'number'/],
  ['a task without parameters as a step', 'chain(add.s(1, 1), nothing.s())', /Source has 1 element\(s\) but target allows only 0/],
  ['a partial first step sent as it is', 'chain(add.s(4), add.s(4)).applyAsync()', /Source has 0 element\(s\) but target requires 1/],
  ['a pipe into another type', 'add.s(1, 1).pipe(shout.s())', /Type 'number' is not assignable to type 'string'/],
  ['alike steps that do not fit', 'chain(numbers.map(() => size.s()))', /Type 'number' is not assignable to type 'string'/],
  ['a body that takes other results', "chord([add.s(1, 1), shout.s('x')], tsum.s())", /Type 'string' is not assignable to type 'number'/],
  ['a body that takes one result', 'chord([add.s(1, 1)], add.s(1))', /not assignable to type 'number'/],
  [
    'a group before what takes other results',
    "chain(group(add.s(1, 1), shout.s('x')), tsum.s())",
    /Type 'string' is not assignable to type 'number'/,
  ],
  ['a group with a member that needs more', 'group(add.s(1, 1), add.s(1)).applyAsync()', /Type '\[\]' is not assignable to type 'never'/],
  ['a map of a task with two parameters', 'add.map([1])', /Type 'number' is not assignable to type 'never'/],
  ['a starmap of lists that are too short', 'add.starmap([[1]])', /Source has 1 element\(s\) but target requires 2/],
  ['a callback for another type', 'add.applyAsync([1, 1], { link: shout.s() })', /Type 'number' is not assignable to type 'string'/],
  ['an errback that needs more', 'add.applyAsync([1, 1], { linkError: told.s() })', /not assignable/],
  [
    'a chain taken for its first value',
    "const text: string = await (await chain(shout.s('x'), add.si(1, 1)).applyAsync()).get()",
    /Type 'number' is not assignable/,
  ],
  [
    'a result of a task taken for a group',
    'const result: GroupResult = await add.s(1, 1).applyAsync()',
    /missing the following properties/,
  ],
  ['an option that does not exist', "add.s(1, 1).set({ que: 'q' })", /'que' does not exist/],
]

/** What the compiler says of each program, and the type of its \`value\`. */
function compiled(programs: readonly string[]): readonly { readonly errors: string; readonly type: string }[] {
  const path = (i: number) => join(ROOT, 'test', 'app', `program-${i}.ts`)
  const texts = new Map(programs.map((program, i) => [path(i), `${TASKS}${program}\nexport {}\n`]))
  const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), ts.sys.readFile)
  const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, ROOT)
  const lax = { ...options, noUnusedLocals: false, noEmit: true }
  const host = ts.createCompilerHost(lax)
  const { fileExists, readFile, getSourceFile } = host
  host.fileExists = (file) => texts.has(file) || fileExists(file)
  host.readFile = (file) => texts.get(file) ?? readFile(file)
  host.getSourceFile = (file, target, ...rest) => {
    const text = texts.get(file)
    return text === undefined ? getSourceFile(file, target, ...rest) : ts.createSourceFile(file, text, target)
  }
  const program = ts.createProgram([...texts.keys()], lax, host)
  const checker = program.getTypeChecker()
  return programs.map((_, i) => {
    const source = program.getSourceFile(path(i))
    const diagnostics = program.getSemanticDiagnostics(source).concat(program.getSyntacticDiagnostics(source))
    const errors = diagnostics.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')).join('\n')
    let type = ''
    source?.forEachChild((node) => {
      if (!ts.isVariableStatement(node)) return
      for (const { name } of node.declarationList.declarations) {
        if (name.getText(source) === 'value')
          type = checker.typeToString(checker.getTypeAtLocation(name), undefined, ts.TypeFormatFlags.InTypeAlias)
      }
    })
    return { errors, type }
  })
}

describe('the types of a workflow', function () {
  this.timeout(120_000)
  let answers: ReturnType<typeof compiled>

  before(() => {
    answers = compiled([...COMPILE, ...REFUSED].map(([, code]) => code))
  })

  COMPILE.forEach(([what, , type], i) => {
    it(`let ${what} compile${type === null ? '' : ` as ${type}`}`, () => {
      assert.equal(answers[i]?.errors, '')
      if (type !== null) assert.equal(answers[i]?.type, type)
    })
  })

  REFUSED.forEach(([what, , message], i) => {
    it(`refuse ${what}`, () => {
      assert.match(answers[COMPILE.length + i]?.errors ?? '', message)
    })
  })
})
