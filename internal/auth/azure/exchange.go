package azure

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/containers/azcontainerregistry"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/auth"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/failure"
)

// nobody is the user that a refresh token goes with, where one is asked for.
const nobody = "00000000-0000-0000-0000-000000000000"

// exchange gives the registry at host a token of Entra ID, and returns a refresh token of
// the registry's. Tenant may be "".
func exchange(ctx context.Context, host, token, tenant string, client *http.Client) (auth.Secret, error) {
	registry, err := azcontainerregistry.NewAuthenticationClient("https://"+host,
		&azcontainerregistry.AuthenticationClientOptions{ClientOptions: azcore.ClientOptions{Transport: client}})
	if err != nil {
		return "", err
	}
	with := &azcontainerregistry.AuthenticationClientExchangeAADAccessTokenForACRRefreshTokenOptions{AccessToken: &token}
	if tenant != "" {
		with.Tenant = &tenant
	}
	answer, err := registry.ExchangeAADAccessTokenForACRRefreshToken(ctx, azcontainerregistry.PostContentSchemaGrantTypeAccessToken, host, with)
	if err != nil {
		return "", exchangeError(ctx, host, err)
	}
	if answer.RefreshToken == nil || *answer.RefreshToken == "" {
		return "", fmt.Errorf("https://%s/oauth2/exchange: the answer holds no refresh token", host)
	}
	return auth.Secret(*answer.RefreshToken), nil
}

// exchangeError says what the registry answered, without the library's account of the
// exchange.
func exchangeError(ctx context.Context, host string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	refused, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return fmt.Errorf("https://%s/oauth2/exchange: %s", host, oneLine(err))
	}
	said := fmt.Sprintf("%d %s", refused.StatusCode, strings.TrimSpace(http.StatusText(refused.StatusCode)+" "+refused.ErrorCode))
	if !final(refused.StatusCode) {
		return fmt.Errorf("https://%s/oauth2/exchange: %s", host, said)
	}
	return fmt.Errorf("https://%s/oauth2/exchange: %s; the identity needs a role of this registry, such as AcrPull or AcrPush: %w", host, said, failure.ErrDenied)
}

// endOf reads when a token ends from the token itself, which is a JWT. It returns the zero
// Time where the token does not say.
func endOf(token auth.Secret) time.Time {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	var claims struct {
		Exp int64 `json:"exp"`
	}
	if err != nil || json.Unmarshal(raw, &claims) != nil || claims.Exp == 0 {
		return time.Time{}
	}
	return time.Unix(claims.Exp, 0)
}
