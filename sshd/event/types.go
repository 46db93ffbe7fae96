package event

import (
	"iter"
	"maps"
	"slices"
	"strconv"
)

// Outcome is how what happened ended.
type Outcome string

// The outcomes there are.
const (
	Success Outcome = "success"
	Failure Outcome = "failure" // it was tried and did not work
	Refused Outcome = "refused" // somebody decided that it may not be
)

// types says of each Type its name, its usual outcome, and what it means.
var types = map[Type]struct {
	name        string
	outcome     Outcome
	description string
}{
	ServerStarted:  {"server_started", Success, "The server has begun to accept connections."},
	ServerStopped:  {"server_stopped", Success, "The server has ended."},
	ServerReloaded: {"server_reloaded", Success, "The configuration was read again and is in force."},
	ServerDraining: {"server_draining", Success, "The server takes no new connections and waits for running transfers."},
	ReloadFailed:   {"reload_failed", Failure, "The configuration was read again and has mistakes; the old one stays in force."},
	EventsDropped:  {"events_dropped", Failure, "Events were lost because they could not be written fast enough, or at all; `fields.count` says how many."},
	EventsLeftOut:  {"events_left_out", Failure, "One person, or one address, caused more events than `events.rate` allows; `fields.count` and `fields.types` say how many were not written."},
	FileLost:       {"events_file_lost", Failure, "The file that events were written to was removed while in use, and a new one was begun."},
	DirectoryUp:    {"directory_up", Success, "A directory answers again."},
	DirectoryDown:  {"directory_down", Failure, "No server of a directory answers."},
	SessionKicked:  {"session_kicked", Success, "An operator ended a session; `session` and `user` say whose."},
	PenaltyLifted:  {"penalty_lifted", Success, "An operator lifted what was held against an address or network, `fields.source`."},

	ConnectionOpened:  {"connection_opened", Success, "A client connected and agreed on algorithms."},
	ConnectionRefused: {"connection_refused", Refused, "A connection was closed before anything was said on it."},
	ConnectionClosed:  {"connection_closed", Success, "A connection ended; a failure if it broke off, or nobody logged in."},
	ProbeSeen:         {"probe_seen", Success, "A connection closed without a word, as health probes do. Counted in the metrics, never written."},

	LoginAccepted: {"login_accepted", Success, "A person logged in."},
	LoginPartial:  {"login_partial", Success, "One of several factors was right; another is still asked for."},
	LoginRejected: {"login_rejected", Failure, "A login did not prove who the person is, or the account may not log in."},
	LoginDenied:   {"login_denied", Refused, "A person proved who they are, but no rule lets them in."},
	LoginShielded: {"login_shielded", Refused, "A password was not passed on to the directory, so that guessing cannot lock the account there."},
	LoginRevoked:  {"login_revoked", Refused, "An open session was ended because the directory or the rules no longer allow it."},
	KeySkipped:    {"key_skipped", Failure, "A key in the directory cannot be used."},
	RightsChanged: {"rights_changed", Success, "What an open session may do is another thing now, because the directory or the rules say so."},

	PasswordChanged:      {"password_changed", Success, "A person changed their password in the directory."},
	PasswordChangeFailed: {"password_change_failed", Failure, "A person's password was not changed."},
	PasswordExpiring:     {"password_expiring", Success, "A person was told that their password expires soon."},

	KeyAdded:        {"key_added", Success, "A person added an SSH key to their entry in the directory; `fields.fingerprint` says which."},
	KeyRemoved:      {"key_removed", Success, "A person removed an SSH key from their entry in the directory; `fields.fingerprint` says which."},
	KeyChangeFailed: {"key_change_failed", Failure, "A person's SSH key was not added or removed; `fields.change` says which of the two was asked for."},

	CodeSecretAdded:   {"code_secret_added", Success, "An operator made a secret of one-time codes for a person."},
	CodeSecretRemoved: {"code_secret_removed", Success, "An operator removed a person's secret of one-time codes."},

	ServiceStarted: {"service_started", Success, "A service such as sftp began on a connection."},
	ServiceEnded:   {"service_ended", Success, "A service on a connection ended."},
	FolderMissing:  {"folder_missing", Failure, "A folder of the rules could not be opened and is missing from the view of a session; `path` and `host_path` say which."},
	ServiceRefused: {"service_refused", Refused, "A service was asked for that is not there or not allowed."},

	FileOpened:          {"file_opened", Success, "A file was opened; `mode` says for what."},
	FileOpenFailed:      {"file_open_failed", Failure, "A file could not be opened; `mode` says for what."},
	FileReadClosed:      {"file_read_closed", Success, "A file was closed after being open only for reading."},
	FileReadFailed:      {"file_read_failed", Failure, "A file was closed after being open only for reading, and something went wrong."},
	FileWriteClosed:     {"file_write_closed", Success, "A file was closed after being open only for writing."},
	FileWriteFailed:     {"file_write_failed", Failure, "A file was closed after being open only for writing, and something went wrong."},
	FileUpdateClosed:    {"file_update_closed", Success, "A file was closed after being open for reading and writing."},
	FileUpdateFailed:    {"file_update_failed", Failure, "A file was closed after being open for reading and writing, and something went wrong."},
	DirectoryListed:     {"directory_listed", Success, "A folder was listed."},
	DirectoryListFailed: {"directory_list_failed", Failure, "A folder could not be listed."},
	AttributesSet:       {"attributes_set", Success, "Mode, times, size or owner of a file or folder were changed."},
	AttributesSetFailed: {"attributes_set_failed", Failure, "Mode, times, size or owner of a file or folder could not be changed."},
	Renamed:             {"renamed", Success, "A file or folder was renamed to `target`."},
	RenameFailed:        {"rename_failed", Failure, "A file or folder could not be renamed to `target`."},
	Removed:             {"removed", Success, "A file or link was removed."},
	RemoveFailed:        {"remove_failed", Failure, "A file or link could not be removed."},
	DirectoryMade:       {"directory_made", Success, "A folder was made."},
	DirectoryMakeFailed: {"directory_make_failed", Failure, "A folder could not be made."},
	DirectoryRemoved:    {"directory_removed", Success, "A folder was removed."},
	DirectoryRemoveFail: {"directory_remove_failed", Failure, "A folder could not be removed."},
	Linked:              {"linked", Success, "A second name, `target`, was given to a file."},
	LinkFailed:          {"link_failed", Failure, "A second name, `target`, could not be given to a file."},
	Symlinked:           {"symlinked", Success, "A symbolic link to `target` was made."},
	SymlinkFailed:       {"symlink_failed", Failure, "A symbolic link to `target` could not be made."},
	Copied:              {"copied", Success, "Bytes of a file were copied to `target` on the server."},
	CopyFailed:          {"copy_failed", Failure, "Bytes of a file could not be copied to `target` on the server."},
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

// Outcome is how a t ends as a rule.
func (t Type) Outcome() Outcome {
	if known, ok := types[t]; ok {
		return known.outcome
	}
	return Success
}

// Failed reports whether t says that something did not happen.
func (t Type) Failed() bool { return t.Outcome() != Success }
