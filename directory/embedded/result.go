package embedded

import (
	ber "github.com/go-asn1-ber/asn1-ber"
)

// resultCode is one of RFC 4511, appendix A.
type resultCode int64

const (
	success                      resultCode = 0
	protocolError                resultCode = 2
	sizeLimitExceeded            resultCode = 4
	authMethodNotSupported       resultCode = 7
	strongerAuthRequired         resultCode = 8
	unavailableCriticalExtension resultCode = 12
	noSuchAttribute              resultCode = 16
	constraintViolation          resultCode = 19
	attributeOrValueExists       resultCode = 20
	invalidAttributeSyntax       resultCode = 21
	noSuchObject                 resultCode = 32
	invalidDNSyntax              resultCode = 34
	invalidCredentials           resultCode = 49
	insufficientAccessRights     resultCode = 50
	unavailable                  resultCode = 52
	unwillingToPerform           resultCode = 53
	other                        resultCode = 80
)

// A result is how an operation ended.
type result struct {
	code   resultCode
	text   string      // for people
	policy policyError // for the password policy control, if the request had it
}

// done is a result with nothing to add.
func done(code resultCode) result { return answer(code, "") }

// answer is a result with a text for people.
func answer(code resultCode, text string) result {
	return result{code: code, text: text, policy: noPolicyError}
}

// because adds an error of the password policy.
func (r result) because(e policyError) result {
	r.policy = e
	return r
}

// envelope is the message that carries r as an operation of type tag, with the
// password policy control (draft-behera-ldap-password-policy-10, section 6.2) if
// the client is to have that.
func (r result) envelope(id int64, tag ber.Tag, withPolicy bool) *ber.Packet {
	op := constructed(ber.ClassApplication, tag, number(ber.TagEnumerated, int64(r.code)), octets(""), octets(r.text))
	m := sequence(number(ber.TagInteger, id), op)
	if withPolicy {
		value := sequence()
		if r.policy != noPolicyError {
			value.AppendChild(ber.NewInteger(ber.ClassContext, ber.TypePrimitive, 1, int64(r.policy), ""))
		}
		m.AppendChild(constructed(ber.ClassContext, 0, sequence(octets(oidPasswordPolicy), octets(string(value.Bytes())))))
	}
	return m
}
