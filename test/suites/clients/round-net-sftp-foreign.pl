# round-net-sftp-foreign.pl SSH_CONFIG SOURCE REMOTE OUT KEY: a round with Perl's
# Net::SFTP::Foreign, which runs ssh.
use strict;
use warnings;
use Net::SFTP::Foreign;

my ($config, $source, $remote, $out) = @ARGV;
my $sftp = Net::SFTP::Foreign->new('target', more => ['-F', $config], autodie => 1);

$sftp->put("$source/$_", "$remote/$_") for qw(zero one mid big);
$sftp->rput("$source/tree", "$remote/tree");
$sftp->get("$remote/big", "$out/big");
die "list\n" unless @{ $sftp->ls($remote) } >= 5;
$sftp->rremove("$remote/tree/c");
die "still there\n" if $sftp->test_e("$remote/tree/c");
