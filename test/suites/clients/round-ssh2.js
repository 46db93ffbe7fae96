// round-ssh2.js SOURCE REMOTE OUT KEY: a round with ssh2-sftp-client of Node, on ssh2.
const assert = require('assert');
const fs = require('fs');
const Client = require('ssh2-sftp-client');

const [source, remote, out, key] = process.argv.slice(2);
const at = { host: process.env.HOST, port: Number(process.env.PORT), username: process.env.SFTP_USER };

async function connected(credentials, work) {
  const sftp = new Client();
  await sftp.connect({ ...at, ...credentials });
  try {
    await work(sftp);
  } finally {
    await sftp.end();
  }
}

async function round(sftp) {
  for (const name of ['zero', 'one', 'mid']) {
    await sftp.put(`${source}/${name}`, `${remote}/${name}`);
  }
  await sftp.fastPut(`${source}/big`, `${remote}/big`); // 64 requests at once
  await sftp.fastGet(`${remote}/big`, `${out}/big`);
  const mid = await sftp.get(`${remote}/mid`);
  assert.ok(mid.equals(fs.readFileSync(`${source}/mid`)));

  await sftp.uploadDir(`${source}/tree`, `${remote}/tree`);
  await sftp.downloadDir(`${remote}/tree`, `${out}/tree`);
  assert.deepStrictEqual(fs.readdirSync(`${out}/tree/a`).sort(), ['b', 'f1', 'f2', 'f3']);
  assert.deepStrictEqual((await sftp.list(`${remote}/tree/a`, (e) => e.name.startsWith('f'))).map((e) => e.name).sort(), ['f1', 'f2', 'f3']);

  await sftp.mkdir(`${remote}/d/e`, true);
  await sftp.put(Buffer.from('abc'), `${remote}/d/edit`);
  await sftp.append(Buffer.from('def'), `${remote}/d/edit`);
  assert.strictEqual((await sftp.get(`${remote}/d/edit`)).toString(), 'abcdef');
  await sftp.rename(`${remote}/d/edit`, `${remote}/d/e/edit`);
  await sftp.put(Buffer.from('x'), `${remote}/d/other`);
  await sftp.posixRename(`${remote}/d/e/edit`, `${remote}/d/other`);
  await sftp.chmod(`${remote}/d/other`, 0o640);
  const attributes = await sftp.stat(`${remote}/d/other`);
  assert.strictEqual(attributes.size, 6);
  assert.strictEqual(attributes.mode & 0o777, 0o640);
  assert.strictEqual(await sftp.exists(`${remote}/d`), 'd');
  assert.strictEqual(await sftp.exists(`${remote}/nope`), false);
  await assert.rejects(sftp.stat(`${remote}/nope`), /No such file/);
  assert.strictEqual(await sftp.realPath(`${remote}/d/../one`), `${remote}/one`);
  await sftp.delete(`${remote}/d/other`);
  await sftp.rmdir(`${remote}/d`, true);
  await sftp.rmdir(`${remote}/tree`, true);
}

// link uses ssh2 itself: ssh2-sftp-client has no symlinks.
function link() {
  const { Client: SSH } = require(require.resolve('ssh2', { paths: [require.resolve('ssh2-sftp-client')] }));
  const ssh = new SSH();
  return new Promise((resolve, reject) => {
    ssh.on('error', reject).on('ready', () => ssh.sftp((err, sftp) => {
      if (err) return reject(err);
      sftp.symlink('one', `${remote}/link`, (err) => {
        if (err) return reject(err);
        sftp.readlink(`${remote}/link`, (err, target) => (err || target !== 'one' ? reject(err || target) : resolve()));
      });
    })).connect({ ...at, privateKey: fs.readFileSync(key) });
  }).finally(() => ssh.end());
}

async function main() {
  await connected({ privateKey: fs.readFileSync(key) }, round);
  await link();
  await connected({ password: process.env.SFTP_PASS }, (sftp) => sftp.stat(remote));
  await assert.rejects(connected({ password: 'wrong' }, () => {}));
}

main().catch((err) => {
  console.error(err);
  process.exit(1);
});
