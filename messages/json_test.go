package messages_test

import (
	"testing"
	"unicode/utf8"

	"github.com/threefoldtech/cloud-marketplace/messages"
	marketplacev1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/v1"
)

// TestParseJSONNamesTheField says which field it is that cannot be read.
func TestParseJSONNamesTheField(t *testing.T) {
	for text, field := range map[string]string{
		`{"amount":"9223372036854775808"}`:     "amount",
		`{"amount":1.5}`:                       "amount",
		`{"amount":"abc"}`:                     "amount",
		`{"amount":""}`:                        "amount",
		`{"userId":7}`:                         "userId",
		`{"amuont":"1"}`:                       "amuont",
		`{"amount":"1","amount":"2"}`:          "amount",
		`[]`:                                   "",
		"\xff":                                 "",
		`{"note":"invalid value for x field y`: "",
	} {
		e := messages.AsError(messages.ParseJSON([]byte(text), &marketplacev1.GrantCreditRequest{}))
		if e.Reason != marketplacev1.ErrorReason_ERROR_REASON_MALFORMED_REQUEST || !utf8.ValidString(e.Message) {
			t.Errorf("%q is refused with %v", text, e)
		}
		if (field == "") != (len(e.Fields) == 0) || field != "" && e.Fields[0].Field != field {
			t.Errorf("%q: %v names %v, not %s", text, e, e.Fields, field)
		}
		if body, err := messages.AppendJSON(nil, e.Status()); err != nil || len(body) < 10 {
			t.Errorf("%q: the refusal is %s, %v", text, body, err)
		}
	}
}
