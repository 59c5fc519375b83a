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
    condition     = length(output.next) == 3
    error_message = "A step is missing: token, bucket, first run."
  }

  assert {
    condition     = module.dagbucket.state_bucket != null && length(module.dagbucket.created_buckets) == 0
    error_message = "The existing bucket is to be created."
  }
}
