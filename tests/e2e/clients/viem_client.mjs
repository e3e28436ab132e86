// viem against a Plait rollup: every step of tests/e2e/test_clients.py, one JSON line each. Started by that test.
import {
  BaseError, createPublicClient, createWalletClient, decodeEventLog, defineChain, encodeFunctionData, http as httpTransport,
  keccak256, numberToHex, webSocket,
} from 'viem'
import { generatePrivateKey, privateKeyToAccount } from 'viem/accounts'
import { emit, emptyAccount, emptyBalanceAccount, http, key, load, refused, sleep, within, ws } from './common.mjs'

const account = privateKeyToAccount(key)
const probe = createPublicClient({ transport: httpTransport(http) })
const chain = defineChain({
  id: await probe.getChainId(), name: 'Plait', nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
  rpcUrls: { default: { http: [http], webSocket: [ws] } },
})
const options = { chain, transport: httpTransport(http, { retryCount: 0 }), pollingInterval: 200, cacheTime: 0 }
const client = createPublicClient(options)
const wallet = createWalletClient({ ...options, account })
const raw = (method, ...params) => client.request({ method, params })
const mined = async (hash) => client.waitForTransactionReceipt({ hash: await hash, timeout: 60_000 })
const status = (receipt) => (receipt.status === 'success' ? 1 : 0)

async function fields(changes = {}) {
  const block = await client.getBlock()
  const nonce = await client.getTransactionCount({ address: account.address, blockTag: 'pending' })
  return {
    type: 'eip1559', chainId: chain.id, nonce, to: emptyAccount, value: 0n, gas: 21_000n,
    maxFeePerGas: block.baseFeePerGas * 2n + 10n ** 9n, maxPriorityFeePerGas: 10n ** 9n, ...changes,
  }
}
const sendSigned = async (transaction) =>
  client.sendRawTransaction({ serializedTransaction: await account.signTransaction(transaction) })

async function readSteps() {
  while ((await client.getBlockNumber()) < 5n) await sleep(200)
  emit('chain_id', await client.getChainId())
  emit('network_version', await raw('net_version'))
  emit('syncing', await raw('eth_syncing'))
  emit('client_version', (await raw('web3_clientVersion')).length > 0)
  const genesis = await client.getBlock({ blockNumber: 0n })
  emit('genesis_block', [Number(genesis.number), genesis.transactions.length, Number(genesis.baseFeePerGas)])
  emit('empty_balance', String(await client.getBalance({ address: emptyBalanceAccount })))
  emit('funded_balance', (await client.getBalance({ address: account.address })) > 10n ** 18n)
  emit('gas_price', (await client.getGasPrice()) >= 1n)
  const history = await client.getFeeHistory({ blockCount: 4, rewardPercentiles: [25, 75] })
  emit('fee_history', [history.baseFeePerGas.length, history.gasUsedRatio.length, history.reward.length, history.reward[0].length])
  const block = await client.getBlock()
  emit('block_lookup', (await client.getBlock({ blockHash: block.hash })).number === block.number)
  emit('pending_block', (await client.getBlock({ blockTag: 'pending' })).number !== null)
}

async function deploy(name, ...args) {
  const { abi, bytecode } = load(name)
  const receipt = await mined(wallet.deployContract({ abi, bytecode, args }))
  const address = receipt.contractAddress
  const read = (functionName, ...values) => client.readContract({ address, abi, functionName, args: values })
  const write = (functionName, ...values) => mined(wallet.writeContract({ address, abi, functionName, args: values }))
  return { abi, address, receipt, read, write }
}

async function tokenSteps() {
  const token = await deploy('DemoToken', 'Plait Test', 'PTT')
  const { abi, address, receipt } = token
  emit('deploy_token', [status(receipt), keccak256(await client.getCode({ address }))])
  emit('token_metadata', [await token.read('name'), await token.read('symbol'), await token.read('decimals')])
  const minted = await token.write('mint', account.address, 1000n)
  emit('mint', [status(minted), minted.logs.length, minted.logs[0].topics[0]])
  const sent = await token.write('transfer', emptyAccount, 250n)
  const event = decodeEventLog({ abi, data: sent.logs[0].data, topics: sent.logs[0].topics })
  emit('transfer', [status(sent), String(event.args.value)])
  emit('token_balances', [String(await token.read('balanceOf', account.address)), String(await token.read('balanceOf', emptyAccount))])
  const logs = await client.getContractEvents({ address, abi, eventName: 'Transfer', fromBlock: receipt.blockNumber })
  emit('logs_query', logs.length)
  emit('estimate_transfer', Number(await client.estimateGas({ account: account.address, to: emptyAccount, value: 1n })))
  const estimate = await client.estimateContractGas({
    account: account.address, address, abi, functionName: 'transfer', args: [emptyAccount, 1n],
  })
  emit('estimate_contract', estimate > 21_000n && estimate < 100_000n)
  const receipts = await raw('eth_getBlockReceipts', numberToHex(sent.blockNumber))
  const block = await client.getBlock({ blockNumber: sent.blockNumber })
  emit('block_receipts', receipts.length === block.transactions.length)
  return token
}

// The revert's decoded part as viem reports it.
async function revertOf(action) {
  try {
    await action()
    return {}
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    return error.walk((item) => item.name === 'ContractFunctionRevertedError') ?? error
  }
}

async function workbenchSteps() {
  const bench = await deploy('Workbench')
  const { abi, address } = bench
  emit('deploy_workbench', status(bench.receipt))
  const simulate = (functionName, ...args) =>
    revertOf(() => client.simulateContract({ account: account.address, address, abi, functionName, args }))
  emit('revert_reason', (await simulate('revertReason', 'not today')).reason)
  emit('revert_custom', (await simulate('revertCustom', 7n)).raw?.slice(0, 74))
  emit('revert_panic', (await simulate('panic', 0n)).raw)
  const estimate = await revertOf(() =>
    client.estimateContractGas({ account: account.address, address, abi, functionName: 'revertReason', args: ['not today'] }))
  emit('estimate_revert', estimate.reason ?? (String(estimate.message).includes('not today') ? 'not today' : estimate.message))
  await bench.write('count')
  emit('storage', Number(await client.getStorageAt({ address, slot: '0x1' })))
  const proof = await client.getProof({ address, storageKeys: [numberToHex(1, { size: 32 })] })
  emit('proof', [proof.accountProof.length > 0, Number(proof.storageProof[0].value)])
  const data = encodeFunctionData({ abi, functionName: 'count' })
  const { accessList } = await client.createAccessList({ account: account.address, to: address, data })
  const own = accessList.filter((entry) => entry.address.toLowerCase() === address.toLowerCase())
  emit('create_access_list', own.reduce((sum, entry) => sum + entry.storageKeys.length, 0))
  const plain = encodeFunctionData({ abi, functionName: 'revertPlain' })
  emit('reverted_transaction', status(await mined(wallet.sendTransaction({ to: address, data: plain, gas: 100_000n }))))
  const overridden = await client.call({ to: emptyAccount, stateOverride: [{ address: emptyAccount, code: '0x602a60005260206000f3' }] })
  emit('state_override', Number(overridden.data))
  return bench
}

async function transactionSteps(bench) {
  const target = privateKeyToAccount(generatePrivateKey()).address
  const nonce = await client.getTransactionCount({ address: account.address })
  const receipt = await mined(wallet.sendTransaction({ to: target, value: 12_345n }))
  emit('value_transfer', [status(receipt), String(await client.getBalance({ address: target }))])
  const sent = await client.getTransaction({ hash: receipt.transactionHash })
  emit('transaction_fields', [Number(sent.typeHex), sent.nonce === nonce, String(sent.value), sent.to.toLowerCase() === target.toLowerCase()])
  const gasPrice = (await client.getGasPrice()) * 2n
  const legacy = await mined(wallet.sendTransaction({ type: 'legacy', to: target, value: 1n, gasPrice }))
  emit('legacy', [Number((await client.getTransaction({ hash: legacy.transactionHash })).typeHex), status(legacy)])
  const { maxFeePerGas, maxPriorityFeePerGas: _, ...listed } = await fields({ type: 'eip2930', to: target, gas: 60_000n })
  const accessList = [{ address: bench.address, storageKeys: [numberToHex(0, { size: 32 })] }]
  const done = await mined(sendSigned({ ...listed, gasPrice: maxFeePerGas, accessList }))
  emit('access_list', [Number((await client.getTransaction({ hash: done.transactionHash })).typeHex), status(done)])
  const authority = privateKeyToAccount(generatePrivateKey())
  const authorization = await authority.signAuthorization({ contractAddress: bench.address, chainId: chain.id, nonce: 0 })
  const set = await mined(sendSigned(await fields({ type: 'eip7702', gas: 200_000n, authorizationList: [authorization] })))
  emit('set_code', [status(set), (await client.getCode({ address: authority.address })).slice(0, 8)])
}

async function refusalSteps() {
  const nonce = await client.getTransactionCount({ address: account.address })
  const refuse = async (changes) => refused(async () => sendSigned(await fields(changes)))
  emit('nonce_too_low', await refuse({ nonce: nonce - 1 }))
  emit('insufficient_funds', await refuse({ value: 10n ** 30n }))
  emit('intrinsic_gas', await refuse({ gas: 20_000n }))
  emit('wrong_chain_id', await refuse({ chainId: 4242 }))
  emit('unknown_method', await refused(() => raw('eth_noSuchMethod')))
  const first = await sendSigned(await fields({ nonce: nonce + 1 }))
  emit('replacement_underpriced', await refuse({ nonce: nonce + 1, value: 1n }))
  await sendSigned(await fields({ nonce }))
  emit('gap_filled', status(await mined(first)))
  emit('pending_nonce', (await client.getTransactionCount({ address: account.address, blockTag: 'pending' })) - nonce)
}

async function batchStep() {
  const batched = createPublicClient({ ...options, transport: httpTransport(http, { batch: true }) })
  const [id, balance, block] = await Promise.all([
    batched.getChainId(), batched.getBalance({ address: emptyBalanceAccount }), batched.getBlock({ blockNumber: 0n }),
  ])
  emit('batch', [id, String(balance), Number(block.number)])
}

async function subscriptionSteps(token) {
  const socket = createPublicClient({ chain, transport: webSocket(ws) })
  let unwatch = () => {}
  const heads = await within(new Promise((resolve, reject) => {
    const seen = []
    unwatch = socket.watchBlocks({
      onError: reject,
      onBlock: (block) => {
        seen.push(block)
        if (seen.length === 2) resolve(seen)
      },
    })
  }), 30_000, 'newHeads')
  unwatch()
  emit('new_heads', [heads.length, heads[1].parentHash === heads[0].hash, Number(heads[1].number - heads[0].number)])
  const log = within(new Promise((resolve, reject) => {
    unwatch = socket.watchEvent({ address: token.address, onError: reject, onLogs: (logs) => resolve(logs[0]) })
  }), 30_000, 'logs')
  await sleep(300) // the subscription leaves with the next tick
  await wallet.writeContract({ address: token.address, abi: token.abi, functionName: 'transfer', args: [emptyAccount, 5n] })
  const seen = await log
  unwatch()
  emit('logs_subscription', [seen.topics[0], Number(seen.data), seen.removed])
  const { close } = await socket.transport.getRpcClient()
  close()
}

await readSteps()
const token = await tokenSteps()
const bench = await workbenchSteps()
await transactionSteps(bench)
await refusalSteps()
await batchStep()
await subscriptionSteps(token)
