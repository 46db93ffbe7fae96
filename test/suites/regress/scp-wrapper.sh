#!/bin/sh
# Takes the place of the wrapper that scp's scripts start for ssh. It leads to
# the server under test, but for the cases in which a bad server is played.
case "${SCPTESTMODE:-}" in
badserver_*) exec sh "$ORIGINAL/scp-ssh-wrapper.sh" "$@" ;;
esac
exec ssh -F "$SSH_CONFIG" "$@"
