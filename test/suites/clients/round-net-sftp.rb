# round-net-sftp.rb SOURCE REMOTE OUT KEY: a round with Ruby's net-sftp.
require 'net/sftp'

source, remote, out, key = ARGV
options = {
  port: ENV['PORT'].to_i, keys: [key], keys_only: true,
  verify_host_key: :never, config: false, non_interactive: true
}
Net::SFTP.start(ENV['HOST'], ENV['SFTP_USER'], **options) do |sftp|
  %w[zero one mid big].each { |name| sftp.upload!("#{source}/#{name}", "#{remote}/#{name}") }
  sftp.download!("#{remote}/big", "#{out}/big")
  sftp.mkdir!("#{remote}/tree")
  sftp.upload!("#{source}/tree", "#{remote}/tree", mkdir: false)
  sftp.download!("#{remote}/tree", "#{out}/tree", recursive: true)
  raise 'entries' unless sftp.dir.entries(remote).map(&:name).include?('big')
  raise 'glob' unless sftp.dir.glob(remote, '**/f1').size == 1

  sftp.mkdir!("#{remote}/dir")
  sftp.rename!("#{remote}/one", "#{remote}/dir/one")
  raise 'size' unless sftp.stat!("#{remote}/dir/one").size == 1

  sftp.rename!("#{remote}/dir/one", "#{remote}/one")
  sftp.rmdir!("#{remote}/dir")
  sftp.setstat!("#{remote}/mid", permissions: 0o600)
  begin
    sftp.stat!("#{remote}/nope")
    raise 'stat of what is missing'
  rescue Net::SFTP::StatusException => e
    raise e unless e.code == Net::SFTP::Constants::StatusCodes::FX_NO_SUCH_FILE
  end
end
