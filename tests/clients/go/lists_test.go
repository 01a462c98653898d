package clients

import (
	"context"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"
)

// A pager reads a list in pieces: each object once, all of one revision.
// conformance: a pager reads each object of a long list once
func TestLongListsComeInPieces(t *testing.T) {
	inEach(t, func(t *testing.T, c *client) {
		subject := unique("paged")
		maps := c.typed.CoreV1().ConfigMaps(c.namespace)
		for at := range 23 {
			made := configMap(subject, map[string]string{"at": fmt.Sprint(at)})
			if _, err := maps.Create(within(t), made, metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		pages, revisions := 0, map[string]bool{}
		read := pager.New(func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
			pages++
			list, err := maps.List(ctx, options)
			if err == nil {
				revisions[list.ResourceVersion] = true
				if left := list.RemainingItemCount; list.Continue != "" && left != nil {
					t.Errorf("a list by labels cannot know that %d are left", *left)
				}
			}
			return list, err
		})
		read.PageSize = 5
		seen := map[string]bool{}
		options := metav1.ListOptions{LabelSelector: "subject=" + subject}
		err := read.EachListItem(within(t), options, func(item runtime.Object) error {
			seen[item.(*corev1.ConfigMap).Name] = true
			return nil
		})
		if err != nil || len(seen) != 23 || pages != 5 || len(revisions) != 1 {
			t.Errorf("%v: %d objects on %d pages of revisions %v", err, len(seen), pages, revisions)
		}
		whole := succeeds[*corev1.ConfigMapList](t)(maps.List(within(t), metav1.ListOptions{Limit: 2}))
		if whole.RemainingItemCount == nil || whole.Continue == "" || *whole.RemainingItemCount < 21 {
			t.Errorf("%+v", whole.ListMeta)
		}
		_, err = maps.List(within(t), metav1.ListOptions{Limit: 2, Continue: "nonsense"})
		if !apierrors.IsBadRequest(err) && !apierrors.IsResourceExpired(err) {
			t.Errorf("a token that is none: %v", err)
		}
		if err := maps.DeleteCollection(within(t), metav1.DeleteOptions{}, options); err != nil {
			t.Fatal(err)
		}
		if left, err := maps.List(within(t), options); err != nil || len(left.Items) != 0 {
			t.Errorf("%v: %d are left", err, len(left.Items))
		}
	})
}
