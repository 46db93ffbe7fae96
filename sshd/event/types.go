package event

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/go-hclog"
)

// Outcome is how what happened ended.
type Outcome string

// The outcomes there are.
const (
	Success Outcome = "success"
	Failure Outcome = "failure" // it was tried and did not work
	Refused Outcome = "refused" // it was decided that it is not allowed
)

// types has the name of each Type, its usual outcome, its level in the log for
// operators (0: only the audit file has it), and what it means.
var types = map[Type]struct {
	name        string
	outcome     Outcome
	level       hclog.Level
	description string
}{
	ServerStarted:  {"server_started", Success, hclog.Info, "The server has begun to accept connections."},
	ServerStopped:  {"server_stopped", Success, hclog.Info, "The server has ended."},
	ServerReloaded: {"server_reloaded", Success, hclog.Info, "The configuration was read again and is in force."},
	ServerDraining: {"server_draining", Success, hclog.Info, "The server takes no new connections and waits for running transfers."},
	ReloadFailed:   {"reload_failed", Failure, hclog.Error, "The configuration was read again and has mistakes; the old one stays in force."},
	EventsDropped:  {"events_dropped", Failure, hclog.Error, "Events were lost because they could not be written fast enough, or at all; `fields.count` says how many."},
	EventsLeftOut:  {"events_left_out", Failure, hclog.Warn, "One person, or one address, caused more events than `events.rate` allows; `fields.count` and `fields.types` say how many were not written."},
	FileLost:       {"events_file_lost", Failure, 0, "The file that events were written to was removed while in use, and a new one was begun."},
	UpgradeFailed:  {"upgrade_failed", Failure, hclog.Error, "A new process was to take over from this server and could not; this one continues to serve."},
	LogLevelSet:    {"log_level_set", Success, hclog.Info, "An operator changed the level of the log to `fields.level`, for the time in `fields.for` if there is one."},
	DirectoryUp:    {"directory_up", Success, hclog.Info, "A directory answers again."},
	DirectoryDown:  {"directory_down", Failure, hclog.Warn, "No server of a directory answers."},
	StateUp:        {"state_up", Success, hclog.Info, "The shared state of the nodes can be read."},
	StateDown:      {"state_down", Failure, hclog.Warn, "The shared state of the nodes cannot be read: limits of sessions are divided by the nodes last seen, and one-time codes follow `state.redis.codes_when_lost`."},
	EventsRefused:  {"events_refused", Failure, 0, "A webhook refused events, which are in a file beside the events file; `fields.count` says how many, `fields.sink` which receiver."},
	SessionKicked:  {"session_kicked", Success, hclog.Info, "An operator ended a session, `session` of `user`."},
	PenaltyLifted:  {"penalty_lifted", Success, hclog.Info, "An operator lifted the penalty of an address or network, `fields.source`."},

	EventsCheckpoint: {"events_checkpoint", Success, 0, "All lines up to the one before are signed with a host key; only in the events file."},

	ConnectionOpened:  {"connection_opened", Success, hclog.Debug, "A client connected and agreed on algorithms."},
	ConnectionRefused: {"connection_refused", Refused, hclog.Info, "A connection was closed at once, before SSH began."},
	ConnectionClosed:  {"connection_closed", Success, hclog.Debug, "A connection ended; a failure if it broke off, or nobody logged in."},
	ProbeSeen:         {"probe_seen", Success, 0, "A connection closed before the client sent anything, as health probes do. Counted in the metrics, never written."},

	LoginAccepted: {"login_accepted", Success, hclog.Info, "A person logged in."},
	LoginPartial:  {"login_partial", Success, hclog.Debug, "One of several factors was right; another is still asked for."},
	LoginRejected: {"login_rejected", Failure, hclog.Info, "A login did not prove who the person is, or the account may not log in."},
	LoginDenied:   {"login_denied", Refused, hclog.Info, "A person proved who they are, but no rule lets them in."},
	LoginShielded: {"login_shielded", Refused, hclog.Warn, "A password was not passed on to the directory, so that guessing cannot lock the account there."},
	LoginRevoked:  {"login_revoked", Refused, hclog.Info, "An open session was ended because the directory or the rules no longer allow it."},
	KeySkipped:    {"key_skipped", Failure, hclog.Warn, "A key in the directory cannot be used."},
	RightsChanged: {"rights_changed", Success, hclog.Info, "The rights of an open session changed, because the directory or the rules did."},

	PasswordChanged:      {"password_changed", Success, hclog.Info, "A person changed their password in the directory."},
	PasswordChangeFailed: {"password_change_failed", Failure, hclog.Info, "A person's password was not changed."},
	PasswordExpiring:     {"password_expiring", Success, 0, "A person was informed that their password expires soon."},

	KeyAdded:        {"key_added", Success, 0, "A person added an SSH key to their entry in the directory; `fields.fingerprint` says which."},
	KeyRemoved:      {"key_removed", Success, 0, "A person removed an SSH key from their entry in the directory; `fields.fingerprint` says which."},
	KeyChangeFailed: {"key_change_failed", Failure, 0, "A person's SSH key was not added or removed; `fields.change` says which of the two was asked for."},

	CertificateIssued:  {"certificate_issued", Success, 0, "A person got an SSH certificate from this server; `fields` say for which key, with which serial number, until when."},
	CertificateRefused: {"certificate_refused", Refused, 0, "A person asked for an SSH certificate and got none."},

	RevocationAdded: {"revocation_added", Success, 0, "An operator revoked certificates or a key; `path` is the list, and `fields` say which."},

	CodeSecretAdded:   {"code_secret_added", Success, 0, "An operator made a secret of one-time codes for a person."},
	CodeSecretRemoved: {"code_secret_removed", Success, 0, "An operator removed a person's secret of one-time codes."},

	MailSent:   {"mail_sent", Success, hclog.Debug, "The mail server accepted a mail to a person; `fields.kind` says what it is about."},
	MailFailed: {"mail_failed", Failure, hclog.Warn, "A mail was not sent, or nobody knows who must get one; with `reason` `mail_not_sent` it is tried again."},

	ServiceStarted: {"service_started", Success, hclog.Debug, "A service such as sftp began on a connection."},
	ServiceEnded:   {"service_ended", Success, hclog.Debug, "A service on a connection ended."},
	FolderMissing:  {"folder_missing", Failure, hclog.Error, "A folder of the rules could not be opened and is missing from the view of a session; `path` and `host_path` say which."},
	ServiceRefused: {"service_refused", Refused, hclog.Info, "A client asked for a service that does not exist or is not allowed."},

	FileOpened:          {"file_opened", Success, 0, "A file was opened; `mode` says for what."},
	FileOpenFailed:      {"file_open_failed", Failure, 0, "A file could not be opened; `mode` says for what."},
	FileReadClosed:      {"file_read_closed", Success, 0, "A file was closed after being open only for reading."},
	FileReadFailed:      {"file_read_failed", Failure, 0, "A file was closed after being open only for reading, and something went wrong."},
	FileWriteClosed:     {"file_write_closed", Success, 0, "A file was closed after being open only for writing."},
	FileWriteFailed:     {"file_write_failed", Failure, hclog.Info, "A file was closed after being open only for writing, and something went wrong."},
	FileUpdateClosed:    {"file_update_closed", Success, 0, "A file was closed after being open for reading and writing."},
	FileUpdateFailed:    {"file_update_failed", Failure, hclog.Info, "A file was closed after being open for reading and writing, and something went wrong."},
	DirectoryListed:     {"directory_listed", Success, 0, "A folder was listed."},
	DirectoryListFailed: {"directory_list_failed", Failure, 0, "A folder could not be listed."},
	AttributesSet:       {"attributes_set", Success, 0, "Mode, times, size or owner of a file or folder were changed."},
	AttributesSetFailed: {"attributes_set_failed", Failure, 0, "Mode, times, size or owner of a file or folder could not be changed."},
	Renamed:             {"renamed", Success, 0, "A file or folder was renamed to `target`."},
	RenameFailed:        {"rename_failed", Failure, 0, "A file or folder could not be renamed to `target`."},
	Removed:             {"removed", Success, 0, "A file or link was removed."},
	RemoveFailed:        {"remove_failed", Failure, 0, "A file or link could not be removed."},
	DirectoryMade:       {"directory_made", Success, 0, "A folder was made."},
	DirectoryMakeFailed: {"directory_make_failed", Failure, 0, "A folder could not be made."},
	DirectoryRemoved:    {"directory_removed", Success, 0, "A folder was removed."},
	DirectoryRemoveFail: {"directory_remove_failed", Failure, 0, "A folder could not be removed."},
	Linked:              {"linked", Success, 0, "A second name, `target`, was given to a file."},
	LinkFailed:          {"link_failed", Failure, 0, "A second name, `target`, could not be given to a file."},
	Symlinked:           {"symlinked", Success, 0, "A symbolic link to `target` was made."},
	SymlinkFailed:       {"symlink_failed", Failure, 0, "A symbolic link to `target` could not be made."},
	Copied:              {"copied", Success, 0, "Bytes of a file were copied to `target` on the server."},
	CopyFailed:          {"copy_failed", Failure, 0, "Bytes of a file could not be copied to `target` on the server."},
}

// Types yields all types in the order of their numbers.
func Types() iter.Seq[Type] {
	return slices.Values(slices.Sorted(maps.Keys(types)))
}

// String is the name of t: "login_accepted".
func (t Type) String() string {
	if known, ok := types[t]; ok {
		return known.name
	}
	return "type_" + strconv.Itoa(int(t))
}

// Description says in one English sentence what t means.
func (t Type) Description() string { return types[t].description }

// Level is the level of t in the log for operators; NoLevel: it is not in the
// log.
func (t Type) Level() hclog.Level { return types[t].level }

// Outcome is the usual outcome of t.
func (t Type) Outcome() Outcome { return cmp.Or(types[t].outcome, Success) }
