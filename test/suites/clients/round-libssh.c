/* round-libssh SOURCE REMOTE OUT KEY: a round with libssh, as KDE's programs use it. */
#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static ssh_session session;
static sftp_session sftp;
static const char *source, *remote, *out;

#define must(done) \
	do { \
		if (!(done)) { \
			printf("%s: %s, status %d\n", #done, ssh_get_error(session), sftp ? sftp_get_error(sftp) : -1); \
			exit(1); \
		} \
	} while (0)

/* in DIR NAME is a path in one of four places. */
static const char *in(const char *dir, const char *name)
{
	static char paths[4][4096];
	static int next;
	char *path = paths[next++ % 4];
	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static void put(const char *name)
{
	char buffer[30000];
	ssize_t n;
	int from = open(in(source, name), O_RDONLY);
	sftp_file to = sftp_open(sftp, in(remote, name), O_WRONLY | O_CREAT | O_TRUNC, 0640);
	must(from >= 0 && to != NULL);
	while ((n = read(from, buffer, sizeof buffer)) > 0)
		must(sftp_write(to, buffer, n) == n);
	must(sftp_close(to) == SSH_OK);
	close(from);
}

/* get has eight reads under way at a time. */
static void get(const char *name)
{
	enum { ahead = 8, size = 16384 };
	char buffer[size];
	int requests[ahead], i, n;
	int to = open(in(out, name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	sftp_file from = sftp_open(sftp, in(remote, name), O_RDONLY, 0);
	must(from != NULL && to >= 0);
	for (i = 0; i < ahead; i++)
		requests[i] = sftp_async_read_begin(from, size);
	for (i = 0; (n = sftp_async_read(from, buffer, size, requests[i])) > 0; i = (i + 1) % ahead) {
		must(write(to, buffer, n) == n);
		requests[i] = sftp_async_read_begin(from, size);
	}
	must(n == 0);
	must(sftp_close(from) == SSH_OK);
	close(to);
}

static int count(const char *dir)
{
	int n = 0;
	sftp_attributes a;
	sftp_dir d = sftp_opendir(sftp, dir);
	must(d != NULL);
	for (; (a = sftp_readdir(sftp, d)) != NULL; n++)
		sftp_attributes_free(a);
	must(sftp_dir_eof(d));
	must(sftp_closedir(d) == SSH_OK);
	return n;
}

int main(int argc, char **argv)
{
	ssh_key key;
	int port = atoi(getenv("PORT"));
	sftp_attributes a;
	sftp_statvfs_t room;
	sftp_file f;
	char text[7] = "";

	if (argc != 5)
		return 2;
	source = argv[1], remote = argv[2], out = argv[3];
	session = ssh_new();
	ssh_options_set(session, SSH_OPTIONS_HOST, getenv("HOST"));
	ssh_options_set(session, SSH_OPTIONS_PORT, &port);
	ssh_options_set(session, SSH_OPTIONS_USER, getenv("SFTP_USER"));
	must(ssh_connect(session) == SSH_OK);
	must(ssh_pki_import_privkey_file(argv[4], NULL, NULL, NULL, &key) == SSH_OK);
	must(ssh_userauth_publickey(session, NULL, key) == SSH_AUTH_SUCCESS);
	sftp = sftp_new(session);
	must(sftp != NULL && sftp_init(sftp) == SSH_OK);

	put("zero"), put("one"), put("mid"), put("big");
	get("big");
	must(count(remote) == 6);

	must(sftp_mkdir(sftp, in(remote, "d"), 0750) == SSH_OK);
	must(sftp_rename(sftp, in(remote, "one"), in(remote, "d/one")) == SSH_OK);
	must(sftp_symlink(sftp, "one", in(remote, "d/link")) == SSH_OK);
	must(strcmp(sftp_readlink(sftp, in(remote, "d/link")), "one") == 0);
	must((a = sftp_lstat(sftp, in(remote, "d/link"))) != NULL && a->type == SSH_FILEXFER_TYPE_SYMLINK);
	must((a = sftp_stat(sftp, in(remote, "d/link"))) != NULL && a->size == 1);
	must(sftp_chmod(sftp, in(remote, "d/one"), 0600) == SSH_OK);
	must((a = sftp_stat(sftp, in(remote, "d/one"))) != NULL && (a->permissions & 0777) == 0600);
	must(sftp_unlink(sftp, in(remote, "d/link")) == SSH_OK);
	must(sftp_rename(sftp, in(remote, "d/one"), in(remote, "one")) == SSH_OK);
	must(sftp_rmdir(sftp, in(remote, "d")) == SSH_OK);
	must((room = sftp_statvfs(sftp, remote)) != NULL && room->f_blocks > 0);

	must((f = sftp_open(sftp, in(remote, "edit"), O_RDWR | O_CREAT | O_EXCL, 0600)) != NULL);
	must(sftp_write(f, "abcdef", 6) == 6);
	must(sftp_fsync(f) == SSH_OK);
	must(sftp_seek(f, 3) == 0 && sftp_read(f, text, 6) == 3 && strcmp(text, "def") == 0);
	must((a = sftp_fstat(f)) != NULL && a->size == 6);
	must(sftp_close(f) == SSH_OK);
	must(sftp_open(sftp, in(remote, "edit"), O_WRONLY | O_CREAT | O_EXCL, 0600) == NULL);
	must(sftp_unlink(sftp, in(remote, "edit")) == SSH_OK);
	must(sftp_stat(sftp, in(remote, "edit")) == NULL && sftp_get_error(sftp) == SSH_FX_NO_SUCH_FILE);
	return 0;
}
