// Compiles contracts/src into small, reproducible JSON artifacts.
//
//   node compile.mjs           writes plait/rollups/artifacts/<Contract>.json (contracts/artifacts is a link to that folder)
//   node compile.mjs --check   writes nothing; fails when an artifact differs from what the sources compile to
//
// Reproducible means: compiler pinned by package.json, no metadata hash in the bytecode, optimizer runs and EVM version fixed
// here, keys in a fixed order. The EVM version is Cancun: the oldest one among the forks that a genesis may choose.
import { existsSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import solc from 'solc'

const here = dirname(fileURLToPath(import.meta.url))
const sourceFolder = join(here, 'src')
const artifactFolder = join(here, '..', 'plait', 'rollups', 'artifacts')

const sources = {}
for (const name of readdirSync(sourceFolder, { recursive: true }).filter((name) => name.endsWith('.sol')).sort()) {
  sources[name] = { content: readFileSync(join(sourceFolder, name), 'utf8') }
}

const input = {
  language: 'Solidity',
  sources,
  settings: {
    evmVersion: 'cancun',
    optimizer: { enabled: true, runs: 10_000 },
    metadata: { bytecodeHash: 'none', appendCBOR: false },
    outputSelection: { '*': { '*': ['abi', 'evm.bytecode.object', 'evm.deployedBytecode.object'] } },
  },
}

// Only packages that package.json names are imported, from where npm put them.
const imported = (path) => {
  const file = join(here, 'node_modules', path)
  return path.startsWith('@') && existsSync(file) ? { contents: readFileSync(file, 'utf8') } : { error: `no ${path}: run npm ci` }
}

const output = JSON.parse(solc.compile(JSON.stringify(input), { import: imported }))
// Any other warning fails too. 5159: selfdestruct is deprecated (the message passer's burn and the Workbench are about it);
// 2394: transient storage outlives a call (the Workbench shows exactly that).
const expected = new Set(['5159', '2394'])
const problems = (output.errors ?? []).filter((problem) => !expected.has(problem.errorCode))
for (const problem of problems) console.error(problem.formattedMessage)
if (problems.length > 0) process.exit(1)

const artifacts = new Map()
for (const file of Object.keys(output.contracts).filter((file) => file in sources).sort()) {
  for (const [name, contract] of Object.entries(output.contracts[file])) {
    if (contract.evm.bytecode.object === '') continue // interfaces and abstract contracts
    const artifact = {
      name,
      source: `contracts/src/${file}`,
      compiler: solc.version(),
      abi: contract.abi,
      bytecode: `0x${contract.evm.bytecode.object}`,
      deployedBytecode: `0x${contract.evm.deployedBytecode.object}`,
    }
    artifacts.set(`${name}.json`, `${JSON.stringify(artifact, null, 1)}\n`)
  }
}

const present = readdirSync(artifactFolder).filter((name) => name.endsWith('.json'))
const stale = present.filter((name) => !artifacts.has(name))
if (process.argv.includes('--check')) {
  const different = [...artifacts].filter(([name, text]) => {
    const path = join(artifactFolder, name)
    return !existsSync(path) || readFileSync(path, 'utf8') !== text
  }).map(([name]) => name)
  for (const name of [...different, ...stale]) console.error(`${name} is not what the sources compile to; run: npm run compile (in contracts)`)
  if (different.length + stale.length > 0) process.exit(1)
  console.log(`${artifacts.size} artifacts are what the sources compile to`)
} else {
  for (const name of stale) rmSync(join(artifactFolder, name))
  for (const [name, text] of artifacts) writeFileSync(join(artifactFolder, name), text)
  console.log(`${artifacts.size} artifacts written to plait/rollups/artifacts`)
}
