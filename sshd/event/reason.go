package event

// A Reason is the code of a refusal or a failure. Only this file makes them, so
// the compiler keeps every other text out of Event.Reason. A code never changes
// its meaning. docs/reasons.md is made from this file: the comment of a block is
// its heading, and the comment of a reason is its meaning.
type Reason struct{ code string }

func (r Reason) String() string { return r.code }

// Connections
var (
	ClientSilent       = Reason{"client_silent"}             // the client did not answer three keep-alive requests
	ConsoleAddress     = Reason{"console_address"}           // the cookie of a console session was used from another address, so the session has ended
	EndedByOperator    = Reason{"ended_by_operator"}         // `berth kick` ended an open session
	HandshakeFailed    = Reason{"handshake_failed"}          // keys could not be exchanged, or the client left before the end
	HostKeyUnavailable = Reason{"host_key_unavailable"}      // the agent that holds the host key did not sign
	Idle               = Reason{"idle"}                      // nothing was asked for during the idle limit
	InternalError      = Reason{"internal_error"}            // a bug: please report the stack in the log
	LoginGraceOver     = Reason{"login_grace_over"}          // nobody logged in within `ssh.login_grace`
	NoCommonAlgorithm  = Reason{"no_common_algorithm"}       // client and server have no algorithm in common
	NotAuthenticated   = Reason{"not_authenticated"}         // the client left before a login succeeded, or tried too often
	NotSSH             = Reason{"not_ssh"}                   // the client speaks another protocol
	PasswordDialogue   = Reason{"password_dialogue_over"}    // `ssh host passwd` has ended, so the connection is closed
	ProxyHeader        = Reason{"proxy_header"}              // a balancer of `ssh.proxy_from` sent no PROXY header that can be read
	Revoked            = Reason{"revoked"}                   // the directory or the rules no longer allow the session; `detail` has their reason
	SessionTimeOver    = Reason{"session_time_over"}         // the session was open for as long as the rules allow
	ShuttingDown       = Reason{"shutting_down"}             // the server takes no new connections and ends the open ones
	SourceBlocked      = Reason{"source_blocked"}            // the address is in `admission.blocked`
	SourcePenalized    = Reason{"source_penalized"}          // the address has failed too often
	SourceBusy         = Reason{"too_many_logins_of_source"} // the address has too many logins under way
	StartupsFull       = Reason{"too_many_logins"}           // too many logins are under way
	TooManyConnections = Reason{"too_many_connections"}      // `ssh.max_connections` is reached
	TooMuchUnread      = Reason{"too_much_unread"}           // the client sent more than the windows of its channels hold, and the services could not take it
)

// Logins
var (
	AccountDisabled      = Reason{"account_disabled"}           // the directory has disabled the account
	AccountExpired       = Reason{"account_expired"}            // the account has expired in the directory
	AccountLocked        = Reason{"account_locked"}             // the directory has locked the account
	AmbiguousName        = Reason{"ambiguous_name"}             // the name means more than one entry
	BadPassword          = Reason{"bad_password"}               // the password is wrong
	CodeNoSecret         = Reason{"code_no_secret"}             // the rule requires a one-time code, and the person has no usable secret
	CodeNotGiven         = Reason{"code_not_given"}             // the rule requires a one-time code beside the password, and the client sent none
	CodeTooOld           = Reason{"code_too_old"}               // the code was generated before the server started, so nobody knows whether it was used
	CodeUsed             = Reason{"code_used"}                  // the one-time code or a later one has been used
	CodeWrong            = Reason{"code_wrong"}                 // the one-time code is wrong
	CodesNotConfigured   = Reason{"codes_not_configured"}       // the rule requires a one-time code, and no secrets are configured
	CodesShielded        = Reason{"codes_shielded"}             // so many wrong codes for the person that none is checked for a while
	CodesUnreadable      = Reason{"codes_unreadable"}           // the secrets of one-time codes cannot be read
	DenyRule             = Reason{"deny_rule"}                  // a rule with `deny` matches the person
	DirectoryUnavailable = Reason{"directory_unavailable"}      // no server of the directory gave an answer
	GroupsUnknown        = Reason{"groups_unknown"}             // the name of one of the person's groups cannot be read, and a rule with `deny` or `require` may mean that group
	KeyRevoked           = Reason{"key_revoked"}                // the key is in one of the lists of `certificates.revoked`
	KeyNotAccepted       = Reason{"key_not_accepted"}           // no key that was offered is the person's, or it may not be used from there or any more
	LoginKeyRemoved      = Reason{"key_removed"}                // the key of the login is no longer in the directory: `ssh.on_change`
	NotSignedIn          = Reason{"not_signed_in"}              // nobody signed in with the browser in time, or the person or the identity provider refused
	ProviderUnavailable  = Reason{"provider_unavailable"}       // the identity provider gave no answer
	SignInOfAnother      = Reason{"sign_in_of_another"}         // somebody else than the person who logs in signed in with the browser
	TokenNotAccepted     = Reason{"token_not_accepted"}         // the ID token is not what `oidc` asks for, or not of this provider
	TooManySignIns       = Reason{"too_many_sign_ins"}          // `oidc.max_running` or `oidc.max_running_source` is reached
	MethodNotAccepted    = Reason{"method_not_accepted"}        // the rules require other methods, or another order
	NoRule               = Reason{"no_rule"}                    // no rule matches the person
	NoUID                = Reason{"no_uid"}                     // files belong to the person (`owner: person`), and the directory has no uid or gid that can be used
	OutsideHours         = Reason{"outside_hours"}              // the directory allows other hours
	LoginPasswordChanged = Reason{"password_changed"}           // the password was changed after the login: `ssh.on_change`
	PasswordExpired      = Reason{"password_expired"}           // the password has expired and has to be changed first
	PasswordMustChange   = Reason{"password_must_change"}       // an administrator set the password; it has to be changed first
	Placeholder          = Reason{"placeholder"}                // a placeholder of a folder has no usable value
	Shielded             = Reason{"shielded"}                   // after many wrong passwords the directory is not asked, because it could lock the account
	SharedStateLost      = Reason{"shared_state_lost"}          // the shared state of the nodes, such as used one-time codes, could not be read
	StateUnknown         = Reason{"state_unknown"}              // the state of the account could not be read
	TotalSessions        = Reason{"too_many_sessions_in_total"} // `admission.max_sessions` is reached, or 1,000 sessions of the console are open
	UnknownUser          = Reason{"unknown_user"}               // no such person exists
	UnusableKey          = Reason{"unusable_key"}               // a value of the key attribute is not a usable key
	Workstation          = Reason{"workstation"}                // the directory allows the person other computers only (`userWorkstations` of Active Directory)
	UserSessions         = Reason{"too_many_sessions"}          // the person has as many sessions as the rules allow
)

// Certificates: see [certificates.md](certificates.md)
var (
	CertificateAuthority   = Reason{"certificate_authority"}     // the authority that signed it is not accepted
	CertificateExpired     = Reason{"certificate_expired"}       // it is no longer valid
	CertificateNotYetValid = Reason{"certificate_not_yet_valid"} // it is not valid yet
	CertificateOption      = Reason{"certificate_option"}        // it has a critical option that is not known, or a command that is not a service
	CertificatePrincipal   = Reason{"certificate_principal"}     // it is not for this person
	CertificateRevoked     = Reason{"certificate_revoked"}       // it has been revoked
	CertificateSignature   = Reason{"certificate_signature"}     // its signature is wrong
	CertificateSource      = Reason{"certificate_source"}        // it may not be used from this address
	CertificateType        = Reason{"certificate_type"}          // it is not a user certificate
	CertificateWeak        = Reason{"certificate_weak"}          // its key or signature is too weak
	CertificatesUnreadable = Reason{"certificates_unreadable"}   // the keys of authorities or a list of what is revoked cannot be read
	NotInCertificate       = Reason{"not_in_certificate"}        // it is for another service
)

// Tickets
var (
	TicketClockSkew   = Reason{"ticket_clock_skew"}          // the clocks differ too much
	TicketExpired     = Reason{"ticket_expired"}             // it has expired
	TicketForAnother  = Reason{"ticket_for_another_service"} // it is not for this server
	TicketKey         = Reason{"ticket_key"}                 // it is encrypted with a key that the keytab does not have
	TicketNotAccepted = Reason{"ticket_not_accepted"}        // it is not the person's, or it proves nothing
	TicketRealm       = Reason{"ticket_realm"}               // it is of a realm that is not accepted
	TicketReplayed    = Reason{"ticket_replayed"}            // it has been used before
)

// Services
var (
	Arguments       = Reason{"arguments"}         // the command takes none
	NoForwarding    = Reason{"no_forwarding"}     // ports, sockets, agents and displays are not forwarded
	NoMoreSessions  = Reason{"no_more_sessions"}  // the client has announced that it will open no more
	NotAllowed      = Reason{"not_allowed"}       // no rule lists the service
	SecondService   = Reason{"second_service"}    // one channel runs one service
	TooManyChannels = Reason{"too_many_channels"} // `ssh.max_channels` or `ssh.max_user_channels` is reached
	UnknownCommand  = Reason{"unknown_command"}   // there is no such command
	UnknownService  = Reason{"unknown_service"}   // there is no such subsystem
)

// Changing passwords and keys
var (
	ChangeForbidden         = Reason{"change_forbidden"}          // the directory does not let the person change the password
	KeyChangeForbidden      = Reason{"key_change_forbidden"}      // the settings or the directory do not let keys be changed
	KeyExists               = Reason{"key_exists"}                // the person has the key already
	KeyOption               = Reason{"key_option"}                // the key has an option other than `from=` and `expiry-time=`
	CertificateRenewsItself = Reason{"certificate_renews_itself"} // a certificate, or a key that does not end, was asked for in a login with a certificate
	NoIssuer                = Reason{"no_issuer"}                 // this server issues no certificates: `certificates.issue`
	KeyUnusable             = Reason{"key_unusable"}              // the key is too weak, or an option cannot be read
	NoAnswer                = Reason{"no_answer"}                 // the dialogue was ended
	NotStored               = Reason{"not_stored"}                // the directory cannot store the change now; nothing was changed
	NotAKey                 = Reason{"not_a_key"}                 // the text is not one public key
	PasswordBlank           = Reason{"password_blank"}            // the new password begins or ends with a blank and was not sent to the directory
	PasswordEmpty           = Reason{"password_empty"}            // the new password is empty and was not sent to the directory
	PasswordMismatch        = Reason{"password_mismatch"}         // the new passwords differ and were not sent to the directory
	PasswordTooShort        = Reason{"password_too_short"}        // the directory refuses it
	PasswordTooYoung        = Reason{"password_too_young"}        // the directory refuses a change so soon after the last one
	PasswordUsed            = Reason{"password_used"}             // the directory refuses it: it has been used before
	PasswordWeak            = Reason{"password_weak"}             // the directory refuses it
	PrivateKey              = Reason{"private_key"}               // the text is a private key
	TooManyKeys             = Reason{"too_many_keys"}             // the entry has `max_keys` keys
	UnknownKey              = Reason{"unknown_key"}               // the person has no such key
)

// Files
var (
	Busy             = Reason{"busy"}                // the file or folder is in use
	DifferentDisks   = Reason{"different_disks"}     // the file cannot be renamed to another folder or file system
	DiskFull         = Reason{"disk_full"}           // the file system has no room left
	FileExists       = Reason{"exists"}              // there is a file or folder of that name
	FileTooLarge     = Reason{"file_too_large"}      // the file would be larger than the limits or the file system allow
	InvalidRequest   = Reason{"invalid"}             // the system does not accept these values
	InputOutput      = Reason{"io_error"}            // the disk or the storage behind it failed
	IsDirectory      = Reason{"is_directory"}        // a folder is not a file
	NameTooLong      = Reason{"name_too_long"}       // the name is longer than the file system allows
	NoSuchFile       = Reason{"no_such_file"}        // there is no file or folder of that name
	NotADirectory    = Reason{"not_a_directory"}     // a file is not a folder
	NotEmpty         = Reason{"not_empty"}           // a folder that is not empty cannot be removed
	NotRegular       = Reason{"not_regular"}         // it is a FIFO, a device or a socket
	NotSupported     = Reason{"not_supported"}       // the file system, or the directory, cannot do this
	PermissionDenied = Reason{"permission_denied"}   // the rules or the file system do not allow it
	QuotaExceeded    = Reason{"quota_exceeded"}      // the quota of the rule or of the file system is used up
	ReadOnly         = Reason{"read_only"}           // the file system is read-only
	StorageGone      = Reason{"storage_gone"}        // the server of the storage does not know the file any more
	StorageTimeout   = Reason{"storage_timeout"}     // the storage did not answer in time
	TooManyLinks     = Reason{"too_many_links"}      // symbolic links lead in a circle, or a file has as many hard links as it can have
	TooManyOpenFiles = Reason{"too_many_open_files"} // the process or the machine has no descriptor left
)

// Mails
var (
	MailNotSent = Reason{"mail_not_sent"} // the mail server did not accept it, or the directory or the state could not be asked: it is tried again
	MailRefused = Reason{"mail_refused"}  // the mail server refused this mail, did not confirm it, or the address cannot be used: this mail is not tried again
)

// The record
var (
	EventsLost   = Reason{"events_lost"}   // events cannot be written, and `events.when_lost` is refuse
	QueueFull    = Reason{"queue_full"}    // the events could not be written as fast as they came, or at all
	RateExceeded = Reason{"rate_exceeded"} // one person or one address caused more events than `events.rate` allows, or than its share of the queue
)
