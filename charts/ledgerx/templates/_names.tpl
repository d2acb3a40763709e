{{/* The start of the names of all objects. */}}
{{- define "ledgerx.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* The start of the names of objects without a namespace. */}}
{{- define "ledgerx.clusterName" -}}
{{- printf "%s-%s" .Release.Namespace (include "ledgerx.fullname" .) -}}
{{- end -}}

{{/* Labels of an object; `part` is one of the platform's, or empty. Takes (list $ part). */}}
{{- define "ledgerx.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{ include "ledgerx.selector" . }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels that tell the pods of a part, or of all parts where it is empty. Takes (list $ part). */}}
{{- define "ledgerx.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end -}}

{{/* The part whose pods answer the API's requests. */}}
{{- define "ledgerx.apiPart" -}}
{{- ternary "demo" "api" .Values.demo.enabled -}}
{{- end -}}

{{/* The URL of the API within the cluster. */}}
{{- define "ledgerx.apiUrl" -}}
{{- printf "http://%s-api.%s.svc.%s:%v" (include "ledgerx.fullname" .) .Release.Namespace .Values.clusterDomain .Values.api.service.port -}}
{{- end -}}

{{- define "ledgerx.image" -}}
{{- $image := ternary .Values.demo.image .Values.image .Values.demo.enabled -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}
