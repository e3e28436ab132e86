// ethers v6 against a Plait rollup: every step of tests/e2e/test_clients.py, one JSON line each. Started by that test.
import { ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, keccak256, toBeHex, toQuantity } from 'ethers'
import { emit, emptyAccount, emptyBalanceAccount, http, key, load, refused, sleep, within, ws } from './common.mjs'

const provider = new JsonRpcProvider(http, undefined, { pollingInterval: 200, batchMaxCount: 20 })
const wallet = new Wallet(key, provider)
const raw = (method, ...params) => provider.send(method, params)
const mined = async (response) => provider.waitForTransaction((await response).hash, 1, 60_000)

async function fields(changes = {}) {
  const block = await provider.getBlock('latest')
  const { chainId } = await provider.getNetwork()
  return {
    type: 2, chainId, nonce: await provider.getTransactionCount(wallet.address, 'pending'), to: emptyAccount, value: 0n,
    gasLimit: 21_000n, maxFeePerGas: block.baseFeePerGas * 2n + 10n ** 9n, maxPriorityFeePerGas: 10n ** 9n, ...changes,
  }
}
const sendSigned = async (transaction) => provider.broadcastTransaction(await wallet.signTransaction(transaction))

async function readSteps() {
  while ((await provider.getBlockNumber()) < 5) await sleep(200)
  emit('chain_id', Number((await provider.getNetwork()).chainId))
  emit('network_version', await raw('net_version'))
  emit('syncing', await raw('eth_syncing'))
  emit('client_version', (await raw('web3_clientVersion')).length > 0)
  const genesis = await provider.getBlock(0)
  emit('genesis_block', [genesis.number, genesis.transactions.length, Number(genesis.baseFeePerGas)])
  emit('empty_balance', String(await provider.getBalance(emptyBalanceAccount)))
  emit('funded_balance', (await provider.getBalance(wallet.address)) > 10n ** 18n)
  emit('gas_price', (await provider.getFeeData()).gasPrice >= 1n)
  const history = await raw('eth_feeHistory', '0x4', 'latest', [25, 75])
  emit('fee_history', [history.baseFeePerGas.length, history.gasUsedRatio.length, history.reward.length, history.reward[0].length])
  const block = await provider.getBlock('latest')
  emit('block_lookup', (await provider.getBlock(block.hash)).number === block.number)
  emit('pending_block', (await raw('eth_getBlockByNumber', 'pending', false)).number !== null)
}

async function deploy(name, ...args) {
  const artifact = load(name)
  const contract = await new ContractFactory(artifact.abi, artifact.bytecode, wallet).deploy(...args)
  const receipt = await mined(Promise.resolve(contract.deploymentTransaction()))
  return [contract, receipt]
}

async function tokenSteps() {
  const [token, receipt] = await deploy('DemoToken', 'Plait Test', 'PTT')
  const address = await token.getAddress()
  emit('deploy_token', [receipt.status, keccak256(await provider.getCode(address))])
  emit('token_metadata', [await token.name(), await token.symbol(), Number(await token.decimals())])
  const minted = await mined(token.mint(wallet.address, 1000n))
  emit('mint', [minted.status, minted.logs.length, minted.logs[0].topics[0]])
  const sent = await mined(token.getFunction('transfer')(emptyAccount, 250n))
  emit('transfer', [sent.status, String(token.interface.parseLog(sent.logs[0]).args.value)])
  emit('token_balances', [String(await token.balanceOf(wallet.address)), String(await token.balanceOf(emptyAccount))])
  emit('logs_query', (await token.queryFilter('Transfer', receipt.blockNumber)).length)
  emit('estimate_transfer', Number(await provider.estimateGas({ from: wallet.address, to: emptyAccount, value: 1n })))
  const estimate = await token.getFunction('transfer').estimateGas(emptyAccount, 1n)
  emit('estimate_contract', estimate > 21_000n && estimate < 100_000n)
  const receipts = await raw('eth_getBlockReceipts', toQuantity(sent.blockNumber))
  emit('block_receipts', receipts.length === (await provider.getBlock(sent.blockNumber)).transactions.length)
  return token
}

const errorOf = async (action) => {
  try {
    await action()
    return {}
  } catch (error) {
    return error
  }
}

async function workbenchSteps() {
  const [bench, receipt] = await deploy('Workbench')
  const address = await bench.getAddress()
  emit('deploy_workbench', receipt.status)
  const call = (name, ...args) => errorOf(() => bench.getFunction(name).staticCall(...args))
  emit('revert_reason', (await call('revertReason', 'not today')).reason)
  emit('revert_custom', (await call('revertCustom', 7n)).data?.slice(0, 74))
  emit('revert_panic', (await call('panic', 0n)).data)
  emit('estimate_revert', (await errorOf(() => bench.getFunction('revertReason').estimateGas('not today'))).reason)
  await mined(bench.getFunction('count')())
  emit('storage', Number(await provider.getStorage(address, 1)))
  const proof = await raw('eth_getProof', address, [toBeHex(1, 32)], 'latest')
  emit('proof', [proof.accountProof.length > 0, Number(proof.storageProof[0].value)])
  const data = bench.interface.encodeFunctionData('count')
  const access = await raw('eth_createAccessList', { from: wallet.address, to: address, data }, 'latest')
  const own = access.accessList.filter((entry) => entry.address.toLowerCase() === address.toLowerCase())
  emit('create_access_list', own.reduce((sum, entry) => sum + entry.storageKeys.length, 0))
  const plain = bench.interface.encodeFunctionData('revertPlain')
  const { hash } = await wallet.sendTransaction({ to: address, data: plain, gasLimit: 100_000n })
  let failed = null
  while (failed === null) {
    failed = await provider.getTransactionReceipt(hash)
    await sleep(100)
  }
  emit('reverted_transaction', failed.status)
  const override = { [emptyAccount]: { code: '0x602a60005260206000f3' } }
  emit('state_override', Number(await raw('eth_call', { to: emptyAccount }, 'latest', override)))
  return bench
}

async function transactionSteps(bench) {
  const address = await bench.getAddress()
  const target = Wallet.createRandom().address
  const nonce = await provider.getTransactionCount(wallet.address)
  const receipt = await mined(wallet.sendTransaction({ to: target, value: 12_345n }))
  emit('value_transfer', [receipt.status, String(await provider.getBalance(target))])
  const sent = await provider.getTransaction(receipt.hash)
  emit('transaction_fields', [sent.type, sent.nonce === nonce, String(sent.value), sent.to === target])
  const { gasPrice } = await provider.getFeeData()
  const legacy = await mined(wallet.sendTransaction({ type: 0, to: target, value: 1n, gasPrice: gasPrice * 2n }))
  emit('legacy', [(await provider.getTransaction(legacy.hash)).type, legacy.status])
  const { maxFeePerGas, maxPriorityFeePerGas: _, ...listed } = await fields({ type: 1, to: target, gasLimit: 60_000n })
  const accessList = [{ address, storageKeys: [toBeHex(0, 32)] }]
  const done = await mined(sendSigned({ ...listed, gasPrice: maxFeePerGas, accessList }))
  emit('access_list', [(await provider.getTransaction(done.hash)).type, done.status])
  const authority = Wallet.createRandom()
  const { chainId } = await provider.getNetwork()
  const authorization = await authority.authorize({ address, chainId, nonce: 0 })
  const set = await mined(sendSigned(await fields({ type: 4, gasLimit: 200_000n, authorizationList: [authorization] })))
  emit('set_code', [set.status, (await provider.getCode(authority.address)).slice(0, 8)])
}

async function refusalSteps() {
  const nonce = await provider.getTransactionCount(wallet.address)
  const refuse = async (changes) => refused(async () => sendSigned(await fields(changes)))
  emit('nonce_too_low', await refuse({ nonce: nonce - 1 }))
  emit('insufficient_funds', await refuse({ value: 10n ** 30n }))
  emit('intrinsic_gas', await refuse({ gasLimit: 20_000n }))
  emit('wrong_chain_id', await refused(async () => raw('eth_sendRawTransaction', await new Wallet(key).signTransaction(await fields({ chainId: 4242n })))))
  emit('unknown_method', await refused(() => raw('eth_noSuchMethod')))
  const first = await sendSigned(await fields({ nonce: nonce + 1 }))
  emit('replacement_underpriced', await refuse({ nonce: nonce + 1, value: 1n }))
  await sendSigned(await fields({ nonce }))
  emit('gap_filled', (await mined(Promise.resolve(first))).status)
  emit('pending_nonce', (await provider.getTransactionCount(wallet.address, 'pending')) - nonce)
}

async function batchStep() {
  // calls made in one tick leave as one JSON-RPC batch
  const [chain, balance, block] = await Promise.all([
    raw('eth_chainId'), raw('eth_getBalance', emptyBalanceAccount, 'latest'), raw('eth_getBlockByNumber', '0x0', false),
  ])
  emit('batch', [Number(chain), String(BigInt(balance)), Number(block.number)])
}

async function subscriptionSteps(token) {
  const socket = new WebSocketProvider(ws)
  const heads = await within(new Promise((resolve, reject) => {
    const seen = []
    socket.on('error', reject)
    socket.on('block', (number) => {
      seen.push(number)
      if (seen.length === 2) resolve(seen)
    })
  }), 30_000, 'newHeads')
  await socket.removeAllListeners()
  const [older, newer] = await Promise.all(heads.map((number) => provider.getBlock(number)))
  emit('new_heads', [heads.length, newer.parentHash === older.hash, newer.number - older.number])
  const log = within(new Promise((resolve) => {
    socket.on({ address: token.target }, resolve)
  }), 30_000, 'logs')
  await sleep(300) // the subscription leaves with the next tick
  await token.getFunction('transfer')(emptyAccount, 5n)
  const seen = await log
  emit('logs_subscription', [seen.topics[0], Number(seen.data), seen.removed])
  await socket.destroy()
}

await readSteps()
const token = await tokenSteps()
const bench = await workbenchSteps()
await transactionSteps(bench)
await refusalSteps()
await batchStep()
await subscriptionSteps(token)
provider.destroy()
