{{/*
The pods of a part. Takes a dict:
  root      the root context
  part      api, relay, streams, operator or demo, whose values are looked at
  args      arguments of `ledgerx`
  env       texts of environment variables, over which the part's own and `extraEnv` come
  files     texts of what is mounted, a list of {name, mountPath, volume}
  ports     more ports of the container, a map
  token     whether the token of the service account is mounted, which is then the part's own
  notes     more annotations, a map
*/}}
{{- define "ledgerx.pods" -}}
{{- $values := index .root.Values .part -}}
{{- $part := list .root .part -}}
{{- $mounts := list -}}
{{- $volumes := list -}}
{{- range include "ledgerx.joined" (append .files (include "ledgerx.tmpFiles" .)) | fromYamlArray -}}
{{- $mounts = append $mounts (omit . "volume") -}}
{{- $volumes = append $volumes .volume -}}
{{- end -}}
metadata:
  labels:
    {{- include "ledgerx.labels" $part | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    {{- toYaml (merge (dict "kubectl.kubernetes.io/default-container" .part) (default dict .notes) $values.podAnnotations) | nindent 4 }}
spec:
  serviceAccountName: {{ include "ledgerx.fullname" .root }}{{ if .token }}-{{ .part }}{{ end }}
  automountServiceAccountToken: {{ default false .token }}
  # A Service called ledgerx-… would set variables that the settings begin with.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  securityContext:
    {{- toYaml .root.Values.podSecurityContext | nindent 4 }}
  {{- with .root.Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with include "ledgerx.scheduling" $part }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ .part }}
      image: {{ include "ledgerx.image" .root | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: {{ toJson .args }}
      env:
        {{- include "ledgerx.joined" (concat .env (list (include "ledgerx.partEnv" $part) $values.extraEnv)) | nindent 8 }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: management, containerPort: 9090}
        {{- range $name, $port := .ports }}
        - {name: {{ $name }}, containerPort: {{ $port }}}
        {{- end }}
      # Started when the database has the schema that this release needs.
      startupProbe:
        httpGet: {path: /startupz, port: management}
        periodSeconds: 2
        failureThreshold: 300
      readinessProbe:
        httpGet: {path: /readyz, port: management}
        periodSeconds: 5
        timeoutSeconds: 5
      livenessProbe:
        httpGet: {path: /livez, port: management}
        timeoutSeconds: 5
        failureThreshold: 6
      {{- if hasKey (default dict .ports) "http" }}
      lifecycle:
        preStop:
          # Until nobody sends requests here any more.
          sleep: {seconds: 5}
      {{- end }}
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- toYaml .root.Values.containerSecurityContext | nindent 8 }}
      volumeMounts:
        {{- concat $mounts $values.extraVolumeMounts | toYaml | nindent 8 }}
  volumes:
    {{- concat (without $volumes nil) $values.extraVolumes | toYaml | nindent 4 }}
{{- end -}}

{{/* Where a part's pods run. Takes (list $ part). */}}
{{- define "ledgerx.scheduling" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
{{- $ofPart := dict "matchLabels" (include "ledgerx.selector" . | fromYaml) -}}
{{- $fields := dict -}}
{{- range $name, $value := pick $values "priorityClassName" "nodeSelector" "tolerations" "affinity" -}}
{{- if $value -}}
{{- $fields = set $fields $name $value -}}
{{- end -}}
{{- end -}}
{{- range $values.topologySpreadConstraints -}}
{{- $constraint := hasKey . "labelSelector" | ternary . (set (deepCopy .) "labelSelector" $ofPart) -}}
{{- $fields = set $fields "topologySpreadConstraints" (append (default list $fields.topologySpreadConstraints) $constraint) -}}
{{- end -}}
{{- if $fields -}}
{{- toYaml $fields -}}
{{- end -}}
{{- end -}}

{{/* Texts, and lists as YAML, one below the other without those that are empty. */}}
{{- define "ledgerx.joined" -}}
{{- $texts := list -}}
{{- range . -}}
{{- if . -}}
{{- $texts = append $texts (kindIs "string" . | ternary . (toYaml .) | trim) -}}
{{- end -}}
{{- end -}}
{{- compact $texts | join "\n" -}}
{{- end -}}
