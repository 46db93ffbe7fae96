package event

// Type says what happened. Its number and its name never change meaning; a
// number that is no longer used is not used again.
type Type int

// What can happen.
const (
	ServerStarted  Type = 1000
	ServerStopped  Type = 1001
	ServerReloaded Type = 1002
	ServerDraining Type = 1003
	ReloadFailed   Type = 1004
	EventsDropped  Type = 1005
	EventsLeftOut  Type = 1006
	FileLost       Type = 1007
	UpgradeFailed  Type = 1008
	LogLevelSet    Type = 1009
	DirectoryUp    Type = 1010
	DirectoryDown  Type = 1011
	StateUp        Type = 1012
	StateDown      Type = 1013
	EventsRefused  Type = 1014
	SessionKicked  Type = 1020
	PenaltyLifted  Type = 1021

	EventsCheckpoint Type = 1030

	ConnectionOpened  Type = 1100
	ConnectionRefused Type = 1101
	ConnectionClosed  Type = 1102
	ProbeSeen         Type = 1103 // counted, not logged

	LoginAccepted Type = 1200
	LoginPartial  Type = 1201
	LoginRejected Type = 1202
	LoginDenied   Type = 1203 // proved who they are, but no rule lets them in
	LoginShielded Type = 1204
	LoginRevoked  Type = 1205
	KeySkipped    Type = 1206
	RightsChanged Type = 1207

	PasswordChanged      Type = 1300
	PasswordChangeFailed Type = 1301
	PasswordExpiring     Type = 1302

	KeyAdded        Type = 1310
	KeyRemoved      Type = 1311
	KeyChangeFailed Type = 1312

	CertificateIssued  Type = 1313
	CertificateRefused Type = 1314
	RevocationAdded    Type = 1315

	CodeSecretAdded   Type = 1320
	CodeSecretRemoved Type = 1321

	MailSent   Type = 1330
	MailFailed Type = 1331

	ServiceStarted Type = 1400
	ServiceEnded   Type = 1401
	ServiceRefused Type = 1402
	FolderMissing  Type = 1403

	FileOpened          Type = 1500
	FileOpenFailed      Type = 1501
	FileReadClosed      Type = 1502 // closed after being open only for reading
	FileReadFailed      Type = 1503
	FileWriteClosed     Type = 1504 // closed after being open only for writing
	FileWriteFailed     Type = 1505
	FileUpdateClosed    Type = 1506 // closed after being open for both
	FileUpdateFailed    Type = 1507
	DirectoryListed     Type = 1510
	DirectoryListFailed Type = 1511
	AttributesSet       Type = 1520
	AttributesSetFailed Type = 1521
	Renamed             Type = 1530
	RenameFailed        Type = 1531
	Removed             Type = 1532
	RemoveFailed        Type = 1533
	DirectoryMade       Type = 1534
	DirectoryMakeFailed Type = 1535
	DirectoryRemoved    Type = 1536
	DirectoryRemoveFail Type = 1537
	Linked              Type = 1538
	LinkFailed          Type = 1539
	Symlinked           Type = 1540
	SymlinkFailed       Type = 1541
	Copied              Type = 1542
	CopyFailed          Type = 1543
)
