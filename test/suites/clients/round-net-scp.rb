# round-net-scp.rb SOURCE REMOTE OUT KEY: a round with Ruby's net-scp.
require 'net/scp'

source, remote, out, key = ARGV
options = {
  port: ENV['PORT'].to_i, keys: [key], keys_only: true,
  verify_host_key: :never, config: false, non_interactive: true
}
Net::SCP.start(ENV['HOST'], ENV['SFTP_USER'], **options) do |scp|
  %w[zero one mid big].each { |name| scp.upload!("#{source}/#{name}", "#{remote}/#{name}") }
  scp.upload!("#{source}/tree", "#{remote}/tree", recursive: true)
  scp.download!("#{remote}/big", "#{out}/big")
  scp.download!("#{remote}/tree", out, recursive: true, preserve: true)
end
found = Dir.glob("#{out}/**/a/f1")
raise 'tree' unless found.size == 1 && File.read(found[0]) == File.read("#{source}/tree/a/f1")
