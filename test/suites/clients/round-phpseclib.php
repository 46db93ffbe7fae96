<?php
// round-phpseclib.php SOURCE REMOTE OUT KEY: a round with phpseclib 3.
require 'phpseclib3/autoload.php';

use phpseclib3\Crypt\PublicKeyLoader;
use phpseclib3\Net\SFTP;

[, $source, $remote, $out, $key] = $argv;

function must(bool $done, string $what): void
{
    if (!$done) {
        echo "$what\n";
        exit(1);
    }
}

function connect(): SFTP
{
    return new SFTP(getenv('HOST'), (int) getenv('PORT'));
}

$user = getenv('SFTP_USER');
$sftp = connect();
must($sftp->login($user, PublicKeyLoader::load(file_get_contents($key))), 'login by key');
foreach (['zero', 'one', 'mid', 'big'] as $name) {
    must($sftp->put("$remote/$name", "$source/$name", SFTP::SOURCE_LOCAL_FILE), "put $name");
}
must($sftp->get("$remote/big", "$out/big"), 'get');
must(in_array('big', $sftp->nlist($remote)), 'list');

must($sftp->symlink('one', "$remote/link"), 'symlink');
must($sftp->readlink("$remote/link") === 'one', 'readlink');
must($sftp->delete("$remote/link"), 'delete a link');

must($sftp->mkdir("$remote/d/e", -1, true), 'mkdir');
must($sftp->rename("$remote/one", "$remote/d/one"), 'rename');
must($sftp->filesize("$remote/d/one") === 1, 'size');
must($sftp->delete("$remote/d", true), 'delete');
must(!$sftp->file_exists("$remote/d"), 'deleted');

must($sftp->put("$remote/one", 'x'), 'put a string');
must($sftp->touch("$remote/one", 1000000000), 'touch');
must($sftp->filemtime("$remote/one") === 1000000000, 'time');
must($sftp->chmod(0600, "$remote/one") !== false, 'chmod');

$again = connect();
must($again->login($user, getenv('SFTP_PASS')) && $again->is_dir($remote), 'login by password');
must(!connect()->login($user, 'wrong'), 'refusal of a wrong password');
