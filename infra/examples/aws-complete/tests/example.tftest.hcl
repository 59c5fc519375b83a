mock_provider "aws" {
  source          = "../../aws/tests/mocks"
  override_during = plan
}

variables {
  zip_file = "../../aws/tests/function.zip"
}

run "plan" {
  command = plan

  assert {
    condition     = keys(module.dagbucket.created_buckets) == ["acme-new-dags"] && keys(output.other_account) == ["ml-team-dags"]
    error_message = "One bucket is created, and one is another account's."
  }

  assert {
    condition     = length(output.next) == 1 && output.other_account["ml-team-dags"].connect != "" && module.dagbucket.fill_token_command == null
    error_message = "The other account's bucket must be connected, and the token is there already."
  }

  assert {
    condition     = module.dagbucket.kms_key_arn != null && module.dagbucket.config_url == "s3://acme-dagbucket-state/dagbucket.yaml"
    error_message = "The key or the state bucket is not as asked for."
  }
}
