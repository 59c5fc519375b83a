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
    condition     = length(local.teams) == 40 && length(module.dagbucket.connect_bucket_commands) == 1
    error_message = "Forty teams share one bucket."
  }

  assert {
    condition     = module.dagbucket.token_secret_arn == null
    error_message = "A secret is created that no route reads."
  }
}
