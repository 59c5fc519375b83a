package astrotest

import (
	"maps"
	"slices"
)

// image is where a Deployment's images would be.
const image = "images.astronomer.example/"

func subject(name string) object {
	if name == "" {
		return object{"id": "clm8qv74h000008mlf08scq7k", "subjectType": "USER", "fullName": "Jane Doe", "username": "jane@example.com"}
	}
	return object{"id": "clm9qv74h000008mlf08scq7k", "subjectType": "SERVICEKEY", "apiTokenName": name}
}

// deploymentJSON is a Deployment as the API shows it. The lock is held.
func (s *Server) deploymentJSON(d *deployment) object {
	now := s.now()
	airflow, apiVersion := "2.11.0", "v1"
	if d.airflow3() {
		airflow, apiVersion = "3.1.0", "v2"
	}
	host := d.OrganizationID + ".astronomer.example/" + d.release()
	airflowAPI := host + "/api/" + apiVersion
	result := object{
		"id": d.ID, "name": d.Name, "organizationId": d.OrganizationID, "workspaceId": d.WorkspaceID, "workspaceName": "Test Workspace",
		"type": d.Type, "status": d.status(now), "statusReason": "", "astroRuntimeVersion": d.RuntimeVersion, "runtimeVersion": d.RuntimeVersion,
		"airflowVersion": airflow, "isDagDeployEnabled": !d.DAGDeploysOff, "isCicdEnforced": d.CICDEnforced, "isDevelopmentMode": true,
		"namespace": "weightless-diameter-8927", "executor": "CELERY", "imageRepository": image + d.ID, "imageTag": d.imageTag,
		"schedulerCpu": "1", "schedulerMemory": "2Gi", "schedulerReplicas": 1, "webServerCpu": "0.5", "webServerMemory": "1Gi",
		"webServerUrl": host + "?orgId=org_test", "webServerIngressHostname": host, "webServerAirflowApiUrl": s.airflowAddress(airflowAPI),
		"apiUrl": "https://" + airflowAPI, "uiUrl": "https://" + host, "createdAt": d.created, "updatedAt": now,
		"createdBy": subject(""), "updatedBy": subject(""),
		"scalingStatus": object{"hibernationStatus": object{"isHibernating": d.Hibernating}},
	}
	variables := []object{}
	for _, key := range slices.Sorted(maps.Keys(d.Variables)) {
		variables = append(variables, object{"key": key, "value": d.Variables[key], "isSecret": false, "updatedAt": d.created})
	}
	result["environmentVariables"] = append(variables, object{"key": "A_SECRET", "isSecret": true, "updatedAt": d.created})
	if d.RemoteExecution {
		result["remoteExecution"] = object{"enabled": true, "allowedIpAddressRanges": []string{}, "remoteApiUrl": "https://" + host + "/remote"}
	}
	if live := d.live(now); live != "" {
		result["dagTarballVersion"] = live
	}
	if desired := d.desired(); desired != "" {
		result["desiredDagTarballVersion"] = desired
	}
	return result
}

// deployJSON is a deploy as the API shows it, without its upload URL. The lock is held.
func (s *Server) deployJSON(d *deployment, one *deploy) object {
	result := object{
		"id": one.id, "deploymentId": d.ID, "type": one.kind, "status": one.status, "description": one.description,
		"isDagDeployEnabled": !d.DAGDeploysOff, "imageRepository": image + d.ID, "imageTag": one.imageTag, "astroRuntimeVersion": d.RuntimeVersion,
		"createdAt": one.created, "updatedAt": one.updated, "createdBySubject": subject(one.creator), "updatedBySubject": subject(one.creator),
	}
	if one.version != "" {
		result["dagTarballVersion"] = one.version
	}
	if one.rollbackFrom != "" {
		result["rollbackFromId"] = one.rollbackFrom
	}
	return result
}
