//go:build race

package sftp_test

// raceEnabled tells that sync.Pool throws things away on purpose.
const raceEnabled = true
