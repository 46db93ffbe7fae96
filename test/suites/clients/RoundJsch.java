import com.jcraft.jsch.ChannelSftp;
import com.jcraft.jsch.JSch;
import com.jcraft.jsch.Session;
import com.jcraft.jsch.SftpException;

/** RoundJsch SOURCE REMOTE OUT KEY: a round with JSch 0.1, by password. */
public class RoundJsch {
    public static void main(String[] args) throws Exception {
        String source = args[0], remote = args[1], out = args[2];
        Session session = new JSch().getSession(
            System.getenv("SFTP_USER"), System.getenv("HOST"), Integer.parseInt(System.getenv("PORT")));
        session.setPassword(System.getenv("SFTP_PASS"));
        session.setConfig("StrictHostKeyChecking", "no");
        session.connect(15000);
        ChannelSftp sftp = (ChannelSftp) session.openChannel("sftp");
        sftp.connect(10000);
        sftp.cd(remote);

        for (String name : new String[] {"zero", "one", "mid", "big"}) {
            sftp.put(source + "/" + name, name);
        }
        sftp.get("big", out + "/big");
        must(sftp.ls(".").size() >= 4, "list");

        sftp.mkdir("dir");
        sftp.rename("one", "dir/one");
        must(sftp.stat("dir/one").getSize() == 1, "size");
        sftp.rename("dir/one", "one");
        sftp.rmdir("dir");
        sftp.chmod(0600, "mid");

        sftp.put(source + "/mid", "resumed");
        sftp.put(source + "/mid", "resumed", ChannelSftp.RESUME);
        must(sftp.stat("resumed").getSize() == 33333, "resume");
        try {
            sftp.stat("nope");
            must(false, "stat of what is missing");
        } catch (SftpException e) {
            must(e.id == ChannelSftp.SSH_FX_NO_SUCH_FILE, e.toString());
        }
        sftp.disconnect();
        session.disconnect();
    }

    private static void must(boolean done, String what) {
        if (!done) {
            throw new RuntimeException(what);
        }
    }
}
