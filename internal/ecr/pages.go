package ecr

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/resourcegroupstaggingapi/types"
)

// errPagesRepeat means that a listing came back to a page that it had shown before.
var errPagesRepeat = errors.New("the pages of the listing repeat")

// allPages collects the listing that operation gives, to its end. One that repeats itself, or whose page tokens
// have expired on the way, is begun again, once. It never returns a part for the whole:
// what is missing from a listing would be taken for absent.
//
// The SDK's paginators cannot serve here: on a token that repeats they go round for
// ever or, asked not to, end as if that had been the last page.
func allPages[T any](ctx context.Context, operation string, page func(ctx context.Context, token *string) (items []T, next *string, err error)) ([]T, error) {
	items, err := onePass(ctx, page)
	if errors.Is(err, errPagesRepeat) || expiredPage(err) {
		items, err = onePass(ctx, page)
	}
	return items, translate(operation, err)
}

func onePass[T any](ctx context.Context, page func(context.Context, *string) ([]T, *string, error)) ([]T, error) {
	var all []T
	seen := map[string]bool{}
	for token := (*string)(nil); ; {
		items, next, err := page(ctx, token)
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
		switch name := aws.ToString(next); {
		case name == "":
			return all, nil
		case seen[name]:
			return nil, errPagesRepeat
		default:
			seen[name], token = true, next
		}
	}
}

// expiredPage reports whether the listing took longer than its page tokens live, which
// is 15 minutes at the tagging API.
func expiredPage(err error) bool {
	_, expired := errors.AsType[*types.PaginationTokenExpiredException](err)
	return expired
}
