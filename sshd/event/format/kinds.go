package format

import (
	"berth/sshd/event"
)

// Classes of OCSF, whose first digit is the category.
const (
	accountChange        = 3001
	authentication       = 3002
	sshActivity          = 4007
	applicationLifecycle = 6002
	fileHosting          = 6006
)

// other is the activity that has no number in a class.
const other = 99

// kinds says what each type is for ECS (event.category and event.type, separated by
// spaces) and for OCSF (class_uid and activity_id).
var kinds = map[event.Type]struct {
	category, kind  string
	class, activity int
}{
	event.ServerStarted:  {"process", "start", applicationLifecycle, 3},
	event.ServerStopped:  {"process", "end", applicationLifecycle, 4},
	event.ServerReloaded: {"configuration", "change", applicationLifecycle, other},
	event.ServerDraining: {"process", "info", applicationLifecycle, other},
	event.ReloadFailed:   {"configuration", "change", applicationLifecycle, other},
	event.EventsDropped:  {"process", "info", applicationLifecycle, other},
	event.EventsLeftOut:  {"process", "info", applicationLifecycle, other},
	event.FileLost:       {"file", "deletion", applicationLifecycle, other},
	event.UpgradeFailed:  {"process", "change", applicationLifecycle, other},
	event.LogLevelSet:    {"configuration", "change", applicationLifecycle, other},
	event.DirectoryUp:    {"process", "info", applicationLifecycle, other},
	event.DirectoryDown:  {"process", "info", applicationLifecycle, other},
	event.StateUp:        {"process", "info", applicationLifecycle, other},
	event.StateDown:      {"process", "info", applicationLifecycle, other},
	event.EventsRefused:  {"process", "info", applicationLifecycle, other},
	event.SessionKicked:  {"session", "end", authentication, 2},
	event.PenaltyLifted:  {"configuration", "change", applicationLifecycle, other},

	event.EventsCheckpoint: {"process", "info", applicationLifecycle, other},

	event.ConnectionOpened:  {"network", "connection start", sshActivity, 1},
	event.ConnectionRefused: {"network", "connection denied", sshActivity, 5},
	event.ConnectionClosed:  {"network", "connection end", sshActivity, 2},

	event.LoginAccepted: {"authentication session", "start", authentication, 1},
	event.LoginPartial:  {"authentication", "info", authentication, other},
	event.LoginRejected: {"authentication", "start", authentication, 1},
	event.LoginDenied:   {"authentication", "start", authentication, 1},
	event.LoginShielded: {"authentication", "start", authentication, 1},
	event.LoginRevoked:  {"session", "end", authentication, 2},
	event.KeySkipped:    {"iam", "user info", accountChange, other},
	event.RightsChanged: {"iam", "user change", accountChange, other},

	event.PasswordChanged:      {"iam", "user change", accountChange, 3},
	event.PasswordChangeFailed: {"iam", "user change", accountChange, 3},
	event.PasswordExpiring:     {"iam", "user info", accountChange, other},

	event.KeyAdded:           {"iam", "user change", accountChange, other},
	event.KeyRemoved:         {"iam", "user change", accountChange, other},
	event.CertificateIssued:  {"iam", "user change", accountChange, other},
	event.RevocationAdded:    {"iam", "user change", accountChange, other},
	event.CertificateRefused: {"iam", "user change", accountChange, other},
	event.KeyChangeFailed:    {"iam", "user change", accountChange, other},

	event.CodeSecretAdded:   {"iam", "user change", accountChange, 10},
	event.CodeSecretRemoved: {"iam", "user change", accountChange, 11},

	event.MailSent:   {"email", "info", applicationLifecycle, other},
	event.MailFailed: {"email", "info", applicationLifecycle, other},

	event.ServiceStarted: {"session", "start", sshActivity, other},
	event.ServiceEnded:   {"session", "end", sshActivity, other},
	event.ServiceRefused: {"session", "info", sshActivity, other},
	event.FolderMissing:  {"file", "info", fileHosting, other},

	event.FileOpened:          {"file", "access", fileHosting, 14},
	event.FileOpenFailed:      {"file", "access", fileHosting, 14},
	event.FileReadClosed:      {"file", "access", fileHosting, 2},
	event.FileReadFailed:      {"file", "access", fileHosting, 2},
	event.FileWriteClosed:     {"file", "change", fileHosting, 1},
	event.FileWriteFailed:     {"file", "change", fileHosting, 1},
	event.FileUpdateClosed:    {"file", "change", fileHosting, 3},
	event.FileUpdateFailed:    {"file", "change", fileHosting, 3},
	event.DirectoryListed:     {"file", "access", fileHosting, other},
	event.DirectoryListFailed: {"file", "access", fileHosting, other},
	event.AttributesSet:       {"file", "change", fileHosting, 3},
	event.AttributesSetFailed: {"file", "change", fileHosting, 3},
	event.Renamed:             {"file", "change", fileHosting, 5},
	event.RenameFailed:        {"file", "change", fileHosting, 5},
	event.Removed:             {"file", "deletion", fileHosting, 4},
	event.RemoveFailed:        {"file", "deletion", fileHosting, 4},
	event.DirectoryMade:       {"file", "creation", fileHosting, other},
	event.DirectoryMakeFailed: {"file", "creation", fileHosting, other},
	event.DirectoryRemoved:    {"file", "deletion", fileHosting, 4},
	event.DirectoryRemoveFail: {"file", "deletion", fileHosting, 4},
	event.Linked:              {"file", "creation", fileHosting, other},
	event.LinkFailed:          {"file", "creation", fileHosting, other},
	event.Symlinked:           {"file", "creation", fileHosting, other},
	event.SymlinkFailed:       {"file", "creation", fileHosting, other},
	event.Copied:              {"file", "creation", fileHosting, 6},
	event.CopyFailed:          {"file", "creation", fileHosting, 6},
}
