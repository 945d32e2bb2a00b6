package soak

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ecr"
	"github.com/aws/aws-sdk-go-v2/service/ecr/types"

	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/ecrlocal"
	"github.com/ecr-mirror-sync/ecr-mirror-sync/internal/status"
)

// event is something that happens to the daemon, up to where it has noticed. Afterwards
// everything settles.
type event struct {
	name  string
	does  func(*world, context.Context) error
	ends  bool // the daemon, so that a new life begins
	brief bool // is part of the short run
	slow  bool // takes a minute, and so is no part of a run of one
}

func events() []event {
	return []event{
		{name: "a tag moves", does: (*world).aTagMoves},
		{name: "many tags move", does: (*world).manyTagsMove},
		{name: "registries throttle", does: (*world).registriesThrottle, brief: true},
		{name: "answers are lost", does: (*world).answersAreLost},
		{name: "upstream is down for a moment", does: (*world).upstreamIsDownForAMoment},
		{name: "upstream is down", does: (*world).upstreamIsDown, slow: true},
		{name: "the file changes", does: (*world).theFileChanges},
		{name: "the file breaks", does: (*world).theFileBreaks, brief: true},
		{name: "SIGHUP", does: (*world).hangup},
		{name: "a repository comes and goes", does: (*world).aRepositoryComesAndGoes},
		{name: "SIGTERM in a copy", does: (*world).terminated, ends: true},
		{name: "SIGKILL in a copy", does: (*world).killed, ends: true, brief: true},
	}
}

func (w *world) aTagMoves(ctx context.Context) error { return w.push(ctx, w.someTag()) }

func (w *world) manyTagsMove(ctx context.Context) error {
	for range 6 {
		if err := w.push(ctx, w.someTag()); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) registriesThrottle(ctx context.Context) error {
	w.unclear = true
	refusal := ecrlocal.Fault{Status: http.StatusTooManyRequests, Code: "TOOMANYREQUESTS", Header: http.Header{"Retry-After": {"0"}}}
	w.local.FailNext("manifest-put", 2, refusal)
	w.local.FailNext("upload-post", 1, refusal)
	w.seen.FailNext("manifest-head", 2, refusal)
	w.seen.FailNext("blob-get", 1, refusal)
	return w.manyTagsMove(ctx)
}

func (w *world) answersAreLost(ctx context.Context) error {
	w.unclear = true
	w.local.FailNext("upload-put", 1, ecrlocal.Fault{Status: http.StatusInternalServerError})
	w.local.FailNext("manifest-put", 1, ecrlocal.Fault{Status: http.StatusBadGateway})
	w.seen.FailNext("blob-get", 1, ecrlocal.Fault{CutAfter: 1000})
	w.seen.FailNext("manifest-get", 1, ecrlocal.Fault{Drop: true})
	return w.aTagMoves(ctx)
}

// upstreamIsDownForAMoment is an outage that a run waits for the end of.
func (w *world) upstreamIsDownForAMoment(ctx context.Context) error {
	return w.outage(ctx, func() error {
		return w.daemon.wait(ctx, "the daemon says that it waits", func() (bool, error) {
			log, _ := w.daemon.log.said()
			return strings.LastIndex(log, "registry does not answer") > strings.LastIndex(log, "registry is back"), nil
		})
	})
}

// upstreamIsDown is an outage during which runs fail.
func (w *world) upstreamIsDown(ctx context.Context) error {
	return w.outage(ctx, func() error {
		return w.daemon.shows(ctx, "an upstream that is down shows", func(s status.Snapshot) bool { return s.Totals.Failing > 0 })
	})
}

func (w *world) outage(ctx context.Context, until func() error) error {
	w.unclear = true
	w.upstream.down.Store(true)
	defer w.upstream.down.Store(false)
	if err := w.aTagMoves(ctx); err != nil {
		return err
	}
	return until()
}

func (w *world) theFileChanges(ctx context.Context) error {
	if err := w.configure(rules("web", "extra")); err != nil {
		return err
	}
	if err := w.daemon.shows(ctx, "a new rule is followed", func(s status.Snapshot) bool { return mirrorOf(s, "extra") != nil }); err != nil {
		return err
	}
	w.wants("copies/extra", "extra")
	if err := w.settles(ctx); err != nil {
		return err
	}
	w.wantsNoMore("copies/extra")
	if err := w.configure(rules("web")); err != nil {
		return err
	}
	return w.daemon.shows(ctx, "a rule that is gone is forgotten", func(s status.Snapshot) bool { return mirrorOf(s, "extra") == nil })
}

func (w *world) theFileBreaks(ctx context.Context) error {
	if err := w.configure(broken); err != nil {
		return err
	}
	if err := w.daemon.shows(ctx, "a broken file shows", func(s status.Snapshot) bool { return s.Config.Error != "" }); err != nil {
		return err
	}
	if err := w.aTagMoves(ctx); err != nil {
		return err
	}
	if err := w.settles(ctx); err != nil {
		return fmt.Errorf("with a broken file: %w", err)
	}
	if err := w.configure(rules("web")); err != nil {
		return err
	}
	return w.daemon.shows(ctx, "a mended file shows", func(s status.Snapshot) bool { return s.Config.Error == "" })
}

func (w *world) hangup(ctx context.Context) error {
	var before status.Snapshot
	if err := w.daemon.shows(ctx, "a status", func(s status.Snapshot) bool { before = s; return true }); err != nil {
		return err
	}
	if err := w.signal(syscall.SIGHUP); err != nil {
		return err
	}
	return w.daemon.shows(ctx, "the file is read again", func(s status.Snapshot) bool { return s.Config.Loaded.After(before.Config.Loaded) })
}

func (w *world) aRepositoryComesAndGoes(ctx context.Context) error {
	var tags []types.Tag
	for key, value := range w.upstreamTags("guest") {
		tags = append(tags, types.Tag{Key: aws.String(key), Value: aws.String(value)})
	}
	if _, err := w.api.TagResource(ctx, &ecr.TagResourceInput{ResourceArn: w.arn(comesAndGoes), Tags: tags}); err != nil {
		return err
	}
	w.wants(comesAndGoes, "guest")
	if err := w.settles(ctx); err != nil {
		return err
	}
	w.wantsNoMore(comesAndGoes)
	_, err := w.api.UntagResource(ctx, &ecr.UntagResourceInput{ResourceArn: w.arn(comesAndGoes), TagKeys: []string{"upstream-image", "upstream-tags"}})
	if err != nil {
		return err
	}
	return w.daemon.shows(ctx, "a repository without resource tags is forgotten", func(s status.Snapshot) bool {
		return mirrorOf(s, w.ecr.host+"/"+comesAndGoes) == nil
	})
}

// inACopy has a tag move and does something while its first blob is on the way.
func (w *world) inACopy(ctx context.Context, do func(release func()) error) error {
	hold := make(chan struct{})
	released := false
	release := func() {
		if !released {
			close(hold)
		}
		released = true
	}
	defer release()
	w.seen.FailNext("blob-get", 1, ecrlocal.Fault{Hold: hold})
	if err := w.aTagMoves(ctx); err != nil {
		return err
	}
	err := w.daemon.shows(ctx, "copying", func(s status.Snapshot) bool { return s.Phase == status.Copying })
	return errors.Join(err, do(release))
}

func (w *world) terminated(ctx context.Context) error {
	err := w.inACopy(ctx, func(release func()) error {
		if err := w.signal(syscall.SIGTERM); err != nil {
			return err
		}
		err := w.daemon.shows(ctx, "draining", func(s status.Snapshot) bool { return s.Phase == status.Draining })
		release()
		return errors.Join(err, w.daemon.ended(ctx, 0))
	})
	return errors.Join(err, w.everyTagIsWhole(ctx, false), w.live(ctx))
}

func (w *world) killed(ctx context.Context) error {
	err := w.inACopy(ctx, func(func()) error {
		w.daemon.kill()
		return nil
	})
	return errors.Join(err, w.everyTagIsWhole(ctx, false), w.live(ctx))
}

// mirrorOf is a mirror of a status, nil where there is none of that name.
func mirrorOf(s status.Snapshot, name string) *status.Mirror {
	for i := range s.Mirrors {
		if s.Mirrors[i].Name == name {
			return &s.Mirrors[i]
		}
	}
	return nil
}
