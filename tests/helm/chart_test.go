// Package helm renders the chart of deploy/helm as helm does.
package helm

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

const dir = "../../deploy/helm/ihc"

// scaledObject is KEDA's, as far as the chart uses it (keda.sh/v1alpha1).
type scaledObject struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              struct {
		ScaleTargetRef                   struct{ Name string }
		MinReplicaCount, MaxReplicaCount int
		Triggers                         []struct {
			Type     string
			Metadata map[string]string
		}
	}
}

// rendered is what the chart makes of values, by kind and name.
type rendered struct {
	deployments map[string]*appsv1.Deployment
	stateful    map[string]*appsv1.StatefulSet
	services    map[string]*corev1.Service
	claims      map[string]*corev1.PersistentVolumeClaim
	budgets     map[string]*policyv1.PodDisruptionBudget
	policies    map[string]*networkingv1.NetworkPolicy
	scaled      map[string]*scaledObject
	pods        map[string]corev1.PodTemplateSpec // by component
}

// render renders the chart with the values, as the release shop in the namespace
// attribution, and decodes every document into the type it says it is, which has
// to know each of its fields.
func render(t *testing.T, values map[string]any) (*rendered, error) {
	t.Helper()
	c, err := loader.Load(dir)
	require.NoError(t, err)
	all, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: "shop", Namespace: "attribution", IsInstall: true}, nil)
	require.NoError(t, err)
	files, err := engine.Engine{Strict: true}.Render(c, all)
	if err != nil {
		return nil, err
	}
	r := &rendered{
		map[string]*appsv1.Deployment{}, map[string]*appsv1.StatefulSet{}, map[string]*corev1.Service{}, map[string]*corev1.PersistentVolumeClaim{},
		map[string]*policyv1.PodDisruptionBudget{}, map[string]*networkingv1.NetworkPolicy{}, map[string]*scaledObject{}, map[string]corev1.PodTemplateSpec{},
	}
	for name, text := range files {
		if strings.HasSuffix(name, ".tpl") {
			continue
		}
		for _, doc := range regexp.MustCompile(`(?m)^---$`).Split(text, -1) {
			r.add(t, name, doc)
		}
	}
	for _, d := range r.deployments {
		r.pods[d.Spec.Template.Labels["app.kubernetes.io/component"]] = d.Spec.Template
	}
	for _, s := range r.stateful {
		r.pods[s.Spec.Template.Labels["app.kubernetes.io/component"]] = s.Spec.Template
	}
	return r, nil
}

func put[T any](t *testing.T, into map[string]*T, name, doc string) {
	t.Helper()
	var object T
	require.NoError(t, yaml.UnmarshalStrict([]byte(doc), &object), doc)
	require.NotContains(t, into, name)
	into[name] = &object
}

func (r *rendered) add(t *testing.T, file, doc string) {
	t.Helper()
	var head struct {
		Kind     string
		Metadata struct{ Name string }
	}
	require.NoError(t, yaml.Unmarshal([]byte(doc), &head), doc)
	name := head.Metadata.Name
	switch head.Kind {
	case "": // comments alone
		require.Empty(t, strings.TrimSpace(regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(doc, "")), file)
	case "Deployment":
		put(t, r.deployments, name, doc)
	case "StatefulSet":
		put(t, r.stateful, name, doc)
	case "Service":
		put(t, r.services, name, doc)
	case "PersistentVolumeClaim":
		put(t, r.claims, name, doc)
	case "PodDisruptionBudget":
		put(t, r.budgets, name, doc)
	case "NetworkPolicy":
		put(t, r.policies, name, doc)
	case "ScaledObject":
		put(t, r.scaled, name, doc)
	default:
		require.Fail(t, "a kind that nobody looks at", "%s of %s", head.Kind, file)
	}
}

// example reads the values of an example.
func example(t *testing.T, name string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "examples", name))
	require.NoError(t, err)
	var values map[string]any
	require.NoError(t, yaml.UnmarshalStrict(text, &values))
	return values
}

// Of each example: the documents are what Kubernetes knows; pods run as nobody,
// with nothing they need not; names that refer to something refer to what is
// there.
func TestEachExampleIsWhatKubernetesKnows(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join(dir, "examples", "*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		name := filepath.Base(path)
		r, err := render(t, example(t, name))
		require.NoError(t, err, name)
		openers := []string{"database"}
		if name == "postgres.yaml" {
			openers = []string{"extractor", "writer", "reporter", "console"}
		}
		require.ElementsMatch(t, append(openers, "init", "attributor"), keys(r.pods), name)
		for part, pod := range r.pods {
			checkPod(t, name+" "+part, pod.Spec)
			require.Equal(t, pod.Labels, r.policies["shop-"+part].Spec.PodSelector.MatchLabels, name)
		}
		for _, s := range r.services {
			require.Contains(t, []string{"database", "console"}, s.Spec.Selector["app.kubernetes.io/component"], name)
			require.Equal(t, r.pods[s.Spec.Selector["app.kubernetes.io/component"]].Labels, s.Spec.Selector, name)
		}
		for part, b := range r.budgets {
			require.Equal(t, r.pods[strings.TrimPrefix(part, "shop-")].Labels, b.Spec.Selector.MatchLabels, name)
		}
		for _, s := range r.stateful {
			require.Equal(t, s.Spec.Template.Labels, s.Spec.Selector.MatchLabels, name)
		}
		for _, d := range r.deployments {
			require.Equal(t, d.Spec.Template.Labels, d.Spec.Selector.MatchLabels, name)
		}
	}
}

func keys[V any](m map[string]V) []string {
	var all []string
	for k := range m {
		all = append(all, k)
	}
	return all
}

func checkPod(t *testing.T, of string, pod corev1.PodSpec) {
	t.Helper()
	require.True(t, *pod.SecurityContext.RunAsNonRoot, of)
	require.False(t, *pod.AutomountServiceAccountToken, of)
	var volumes []string
	for _, v := range pod.Volumes {
		volumes = append(volumes, v.Name)
	}
	ports := map[int32]bool{}
	for _, c := range pod.Containers {
		require.True(t, *c.SecurityContext.ReadOnlyRootFilesystem, of)
		require.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, of)
		require.NotEmpty(t, c.Resources.Requests, of)
		require.Contains(t, c.Resources.Limits, corev1.ResourceMemory, of)
		for _, p := range []*corev1.Probe{c.StartupProbe, c.LivenessProbe, c.ReadinessProbe} {
			require.Equal(t, c.Ports[0].Name, p.HTTPGet.Port.StrVal, of)
		}
		require.False(t, ports[c.Ports[0].ContainerPort], "%s: containers of a pod share its ports", of)
		ports[c.Ports[0].ContainerPort] = true
		for _, m := range c.VolumeMounts {
			require.Contains(t, volumes, m.Name, of)
		}
		for _, e := range c.Env {
			require.NotContains(t, []string{"NATS_PASSWORD", "IHC_API_KEY"}, e.Name, "secrets are files")
			if path := e.Value; strings.HasPrefix(path, "/") {
				require.True(t, slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
					return path == m.MountPath || strings.HasPrefix(path, m.MountPath+"/")
				}), "%s: %s=%s is mounted", of, e.Name, path)
			}
		}
	}
}

// The API's key, and the way to the API, are the attributor's alone; the
// database is on one disk that one pod has.
func TestOnlyTheAttributorReachesTheAPI(t *testing.T) {
	t.Parallel()
	r, err := render(t, example(t, "api.yaml"))
	require.NoError(t, err)
	for part, pod := range r.pods {
		secrets := map[string]bool{}
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil {
				secrets[v.Secret.SecretName] = true
			}
			if v.PersistentVolumeClaim != nil {
				require.Equal(t, "database", part)
			}
		}
		require.Equal(t, part == "attributor", secrets["ihc-api"], part)
		require.True(t, secrets["ihc-nats"] && secrets["ihc-nats-tls"], part)
		out := false
		for _, rule := range r.policies["shop-"+part].Spec.Egress {
			for _, to := range rule.To {
				out = out || to.IPBlock != nil
			}
		}
		require.Equal(t, part == "attributor", out, part)
	}
	require.EqualValues(t, 1, *r.stateful["shop-database"].Spec.Replicas)
	require.Equal(t, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, r.claims["shop-database"].Spec.AccessModes)
	require.Len(t, r.pods["database"].Spec.Containers, 4)
	require.Equal(t, "registry.example.com/ihc/ihc:v1.2.3", r.pods["database"].Spec.Containers[3].Image, "the console is a command of ihc")
}

// KEDA sets how many attributors there are, and each has its part of the rate.
func TestAttributorsAreScaledByWhatWaits(t *testing.T) {
	t.Parallel()
	r, err := render(t, example(t, "keda.yaml"))
	require.NoError(t, err)
	require.Nil(t, r.deployments["shop-attributor"].Spec.Replicas)
	s := r.scaled["shop-attributor"]
	require.Equal(t, "shop-attributor", s.Spec.ScaleTargetRef.Name)
	require.Equal(t, "nats-jetstream", s.Spec.Triggers[0].Type)
	require.Equal(t, "IHC_JOURNEYS", s.Spec.Triggers[0].Metadata["stream"])
	require.Equal(t, "attributor", s.Spec.Triggers[0].Metadata["consumer"])
	require.Contains(t, r.pods["attributor"].Spec.Containers[0].Env, corev1.EnvVar{Name: "IHC_REQUEST_RATE", Value: "2"})
	require.Empty(t, r.claims, "the claim is the user's")

	r, err = render(t, example(t, "api.yaml"))
	require.NoError(t, err)
	require.Empty(t, r.scaled)
	require.EqualValues(t, 2, *r.deployments["shop-attributor"].Spec.Replicas)
	require.Contains(t, r.pods["attributor"].Spec.Containers[0].Env, corev1.EnvVar{Name: "IHC_REQUEST_RATE", Value: "10"})
}

// On PostgreSQL there is no disk to share: two of each service, whose address,
// password and certificates all who open the database have, and nobody else.
func TestOnPostgreSQLServicesAreAnyNumber(t *testing.T) {
	t.Parallel()
	r, err := render(t, example(t, "postgres.yaml"))
	require.NoError(t, err)
	require.Empty(t, r.stateful)
	require.Empty(t, r.claims)
	for part, pod := range r.pods {
		opens := slices.Contains([]string{"extractor", "writer", "reporter", "console"}, part)
		container := pod.Spec.Containers[0]
		require.Len(t, pod.Spec.Containers, 1)
		for _, e := range []corev1.EnvVar{{Name: "IHC_DB", Value: "postgres://pipeline@db.example/shop"}, {Name: "PGPASSFILE", Value: "/postgres/pgpass"},
			{Name: "PGSSLMODE", Value: "verify-full"}, {Name: "PGSSLROOTCERT", Value: "/postgres-tls/ca.crt"}} {
			require.Equal(t, opens, slices.Contains(container.Env, e), "%s of %s", e.Name, part)
		}
		reaches := slices.ContainsFunc(r.policies["shop-"+part].Spec.Egress, func(rule networkingv1.NetworkPolicyEgressRule) bool {
			return rule.Ports[0].Port.IntVal == 5432 && rule.To[0].IPBlock.CIDR == "10.0.0.0/8"
		})
		require.Equal(t, opens, reaches, part)
		if opens && part != "console" {
			require.EqualValues(t, 2, *r.deployments["shop-"+part].Spec.Replicas)
			require.Contains(t, r.budgets, "shop-"+part)
		}
	}
	require.Equal(t, "console", r.services["shop-console"].Spec.Selector["app.kubernetes.io/component"])
	require.NotEmpty(t, r.scaled)
}

func TestAConsoleNeedsAToken(t *testing.T) {
	t.Parallel()
	_, err := render(t, nil)
	require.ErrorContains(t, err, "console.tokenSecret: name the secret with the console's token, or set console.enabled to false")
}
