package transport

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ref"
)

// Tags yields the tags of repo in the registry's order, each once. A name that is no
// tag is left out and logged.
func (c *Client) Tags(ctx context.Context, repo ref.Repository) iter.Seq2[string, error] {
	return c.names(ctx, repo.Host, listing{
		what:  "tag list of " + repo.String(),
		noun:  "tag",
		first: call{method: http.MethodGet, repo: repo, path: "tags/list"},
		parse: parseTags,
		valid: ref.ValidTag,
	})
}

func parseTags(page []byte) ([]any, error) {
	var list struct {
		Tags []any `json:"tags"`
	}
	err := json.Unmarshal(page, &list)
	return list.Tags, err
}
