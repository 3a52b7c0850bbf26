package identity

import (
	"context"
	"errors"
	"fmt"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
	"google.golang.org/protobuf/proto"

	"github.com/threefoldtech/cloud-marketplace/messages"
	taskv1 "github.com/threefoldtech/cloud-marketplace/messages/marketplace/task/v1"
)

// Renew executes the task of a session that wants its issuer's next token. An
// issuer that rotates tokens takes each once: when its answer is lost, the
// person has to sign in again, and a refusal says so for good.
func (l *Login) Renew(ctx context.Context, _ string, task proto.Message) (proto.Message, error) {
	do, ok := task.(*taskv1.RenewGrant)
	if !ok {
		return nil, fmt.Errorf("renew a session: %T is another task", task)
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, l.config.HTTPClient), issuerWithin)
	defer cancel()
	oauth, _, err := l.oauth(ctx)
	if err != nil {
		return nil, err
	}
	token, err := oauth.TokenSource(ctx, &oauth2.Token{RefreshToken: do.GetGrant().GetRefreshToken()}).Token()
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.ErrorCode == "invalid_grant" {
		return nil, invalid("the issuer has signed the person out")
	}
	if err != nil {
		return nil, fmt.Errorf("ask the issuer for the next token: %w", err)
	}
	who, grant, err := l.grant(token)
	if e, refused := errors.AsType[*messages.Error](err); refused && e.Retry > 0 {
		return nil, fmt.Errorf("verify the next token: %s", e.Message) // another attempt may succeed
	}
	if err != nil {
		return nil, err
	}
	if who.Subject != do.GetSubject() {
		return nil, invalid("the issuer's next token is somebody else's")
	}
	return &taskv1.GrantRenewed{Grant: grant}, nil
}
