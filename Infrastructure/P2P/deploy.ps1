#Requires -Version 5.1
<#
.SYNOPSIS
Deploys Aurora Discovery to AWS, updates it, or removes it. deploy.sh does the same on Linux and macOS.
docs/operations.md has the details.
.PARAMETER Environment
dev (default), staging or prod.
.PARAMETER Region
Default us-east-1.
.PARAMETER StackName
Default aurora-p2p-discovery for dev, aurora-p2p-discovery-ENV otherwise.
.PARAMETER Artifact
Deploy this zip of bootstrap, a file or a URL; default: the zip of this version's release, otherwise as -Build.
.PARAMETER Build
Build the function from this checkout, with cargo-lambda or with Docker.
.PARAMETER Architecture
arm64 or x86_64; default: the stack's, arm64 for a new one.
.PARAMETER Parameter
Parameters of cloudformation.yaml as "KEY=VALUE","KEY=VALUE"; others keep their values.
.PARAMETER Tag
Tags of the stack and its resources as "KEY=VALUE","KEY=VALUE"; other tags stay.
.PARAMETER Delete
Remove the stack, after confirmation.
.PARAMETER Yes
Do not ask for confirmation.
.PARAMETER Help
Show this help.
#>
[CmdletBinding()]
param(
    [Alias('e')] [ValidateSet('dev', 'staging', 'prod')] [string] $Environment = 'dev',
    [Alias('r')] [string] $Region = 'us-east-1',
    [Alias('s')] [string] $StackName = '',
    [Alias('a')] [string] $Artifact = '',
    [Alias('b')] [switch] $Build,
    [ValidateSet('', 'arm64', 'x86_64')] [string] $Architecture = '',
    [Alias('p')] [string[]] $Parameter = @(),
    [Alias('t')] [string[]] $Tag = @(),
    [switch] $Delete,
    [Alias('y')] [switch] $Yes,
    [Alias('h')] [switch] $Help
)

# A native command that fails throws no error. Where a failure matters, the code below checks $LASTEXITCODE.
$ErrorActionPreference = 'Continue'
$PSNativeCommandUseErrorActionPreference = $false
# The key of LastSeenIndex in cloudformation.yaml. A table with a different key has an older design.
$IndexKey = 'lane h'
$ArtifactsStack = 'aurora-p2p-artifacts'
$SmokeAttempts = 10

. (Join-Path $PSScriptRoot 'artifact.ps1')

function Invoke-Main {
    Test-Options
    Test-Tools
    $script:Work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $script:Work | Out-Null
    try {
        Read-Account
        Read-Stack
        if ($Delete) {
            Remove-Stack
            return
        }
        Test-Table
        Test-Logs
        Find-Artifact
        Publish-Artifact
        Write-StampedTemplate
        Publish-Stack
    }
    finally {
        Remove-Item -Recurse -Force $script:Work
    }
    Write-Outputs
    Test-Deployment
}

function Test-Options {
    if ($script:Artifact -and $Build) { Stop-Deployment '-Artifact and -Build must not be given together' 2 }
    if ($script:Artifact -match '^http://' -and $script:Artifact -notmatch '^http://(127\.0\.0\.1|localhost)[:/]') {
        Stop-Deployment "-Artifact $($script:Artifact): use https, so that the code cannot be exchanged on its way" 2
    }
    if ($script:Artifact -and $script:Artifact -notmatch '^https?://' -and -not (Test-Path -LiteralPath $script:Artifact -PathType Leaf)) {
        Stop-Deployment "-Artifact $($script:Artifact): there is no such file" 2
    }
    foreach ($pair in @($Parameter) + @($Tag)) {
        if ($pair -notmatch '^[^=]+=') { Stop-Deployment "-Parameter and -Tag must be KEY=VALUE, not $pair" 2 }
    }
}

function Test-Tools {
    if (-not (Get-Command aws -ErrorAction SilentlyContinue)) {
        Stop-Deployment 'the AWS CLI is missing: install version 2 from https://aws.amazon.com/cli/'
    }
    if ("$(aws --version 2>&1)" -match '^aws-cli/1\.') {
        Stop-Deployment 'the AWS CLI is version 1, which has received no new APIs since August 2026: install version 2 from https://aws.amazon.com/cli/'
    }
}

function Read-Account {
    if (-not (Invoke-Attempt { aws sts get-caller-identity --query Account --output text })) {
        Stop-Deployment "AWS did not accept the credentials: run 'aws configure' (or 'aws sso login'), or set AWS_PROFILE. $($script:Complaint)"
    }
    $script:Account = $script:Reply
    Write-Step "account $($script:Account), $Region, stack $($script:StackName), environment $Environment"
}

# Sets Status (none if there is no stack, or only a change set for one), the addresses that may call
# the API and, unless -Architecture was given, the stack's architecture.
function Read-Stack {
    $query = "Stacks[0].[StackStatus, Parameters[?ParameterKey=='Environment'] | [0].ParameterValue, Parameters[?ParameterKey=='Architecture'] | [0].ParameterValue, Parameters[?ParameterKey=='AllowedCidrs'] | [0].ParameterValue]"
    if (-not (Invoke-Attempt { aws cloudformation describe-stacks --stack-name $script:StackName --query $query --output text })) {
        if ($script:Complaint -notmatch 'does not exist') { Stop-Deployment $script:Complaint }
        $script:Reply = "none $Environment None None"
    }
    $script:Status, $stackEnvironment, $stackArchitecture, $script:Cidrs = -split $script:Reply
    if ($script:Status -eq 'REVIEW_IN_PROGRESS') { $script:Status = 'none' }
    if ($stackEnvironment -eq 'None' -and $script:Status -ne 'none') { Stop-Deployment "stack $($script:StackName) does not belong to Aurora Discovery: choose another -StackName" }
    if ($script:Status -ne 'none' -and $stackEnvironment -ne $Environment) {
        Stop-Deployment "stack $($script:StackName) belongs to environment $stackEnvironment, not ${Environment}: choose another -StackName, or -Environment $stackEnvironment"
    }
    if ($script:Status -like '*_IN_PROGRESS') { Stop-Deployment "stack $($script:StackName) is $($script:Status): wait until it has finished" }
    if ($stackArchitecture -eq 'None') { $stackArchitecture = 'arm64' }
    if ($script:Cidrs -eq 'None') { $script:Cidrs = '' }
    if (-not $script:Architecture) { $script:Architecture = $stackArchitecture }
}

function Test-Table {
    if ($script:Status -eq 'ROLLBACK_COMPLETE') {
        Write-Step 'removing the remains of a failed stack creation'
        aws cloudformation delete-stack --stack-name $script:StackName
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
        aws cloudformation wait stack-delete-complete --stack-name $script:StackName
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
        $script:Status = 'none'
    }
    $table = "aurora-peers-$Environment"
    $query = "Table.GlobalSecondaryIndexes[?IndexName=='LastSeenIndex'] | [0].KeySchema[].AttributeName"
    if (-not (Invoke-Attempt { aws dynamodb describe-table --table-name $table --query $query --output text })) { return }
    if ($script:Status -eq 'none') {
        Stop-Deployment "table $table exists in $Region, but stack $($script:StackName) does not: either another stack owns the table (pass its -StackName), or it remains from a deleted stack (delete it)"
    }
    $key = (-split $script:Reply) -join ' '
    if ($key -ne $IndexKey) {
        Stop-Deployment @"
table $table has an older design: its index has another key ($key), and DynamoDB cannot change it.
No lasting data is lost, because peers register again when their leases end. Either remove the stack with -Delete and deploy again (the endpoint changes),
or deploy another -Environment, move the peers there, and then remove this one.
"@
    }
}

# A deleted stack can leave log groups behind: if API Gateway or Lambda logs a request after its group was
# deleted, it creates the group again. A new stack cannot create a group that exists.
function Test-Logs {
    if ($script:Status -ne 'none') { return }
    foreach ($group in @("/aws/lambda/aurora-discovery-$Environment", "/aws/apigateway/aurora-p2p-$Environment")) {
        if (-not (Invoke-Attempt { aws logs describe-log-groups --log-group-name-prefix $group --query "logGroups[?logGroupName=='$group'].logGroupName" --output text })) { Stop-Deployment $script:Complaint }
        if ($script:Reply -ne $group) { continue }
        if (-not (Confirm-Word 'yes' "Log group $group remains from a deleted stack, and a new one cannot be created beside it. Type yes to delete it")) {
            Stop-Deployment "log group $group is in the way: delete it, or pass -Yes"
        }
        aws logs delete-log-group --log-group-name $group
        if ($LASTEXITCODE -ne 0) { Stop-Deployment "log group $group could not be deleted" }
        Write-Step "deleted log group $group"
    }
}

# Sets Bucket, Key and Version. An artifact that is already stored is not uploaded again, so that
# deploying the same code changes nothing.
function Publish-Artifact {
    $script:Bucket = "aurora-p2p-artifacts-$($script:Account)-$Region"
    $script:Key = "$($script:StackName)/aurora-lambda-$($script:Architecture).zip"
    if (-not (Invoke-Attempt { aws s3api head-bucket --bucket $script:Bucket --expected-bucket-owner $script:Account })) {
        if ($script:Complaint -notmatch '404') { Stop-Deployment "the bucket $($script:Bucket) cannot be used: $($script:Complaint)" }
        New-Bucket
    }
    $sum = (Get-FileHash -Algorithm SHA256 -LiteralPath $script:Artifact).Hash.ToLowerInvariant()
    if (-not (Invoke-Attempt { aws s3api head-object --bucket $script:Bucket --key $script:Key --query '[Metadata.sha256,VersionId]' --output text })) { $script:Reply = 'None None' }
    $stored, $script:Version = -split $script:Reply
    if ($stored -ne $sum) {
        Write-Step "uploading the function's code to $($script:Bucket)"
        $script:Version = aws s3api put-object --bucket $script:Bucket --key $script:Key --body $script:Artifact --metadata "sha256=$sum" --expected-bucket-owner $script:Account --query VersionId --output text
        if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the code could not be uploaded' }
    }
    if ($script:Version -eq 'None') { $script:Version = '' }
}

# Creates the stack with the bucket. If the stack exists without its bucket, its creation has failed, or the
# bucket was deleted by hand. An update would create the bucket in neither case, so the stack is deleted
# first. A stack that consists only of a change set need not be deleted.
function New-Bucket {
    if (Invoke-Attempt { aws cloudformation describe-stacks --stack-name $ArtifactsStack --query 'Stacks[0].StackStatus' --output text }) {
        if ($script:Reply -ne 'REVIEW_IN_PROGRESS') {
            if ($script:Reply -like '*_IN_PROGRESS') { Stop-Deployment "stack $ArtifactsStack is $($script:Reply): wait until it has finished" }
            Write-Step "removing stack $ArtifactsStack, which is $($script:Reply) and has no bucket"
            aws cloudformation delete-stack --stack-name $ArtifactsStack
            if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
            aws cloudformation wait stack-delete-complete --stack-name $ArtifactsStack
            if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
        }
    }
    Write-Step "creating the private bucket $($script:Bucket)"
    aws cloudformation deploy --stack-name $ArtifactsStack --template-file (Join-Path $PSScriptRoot 'artifacts.yaml') --no-fail-on-empty-changeset
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the bucket could not be created' }
}

# A change of the REST API reaches its stage only with a new deployment, which CloudFormation makes if the
# deployment has a new name. So this function puts a hash of the template, and of the addresses that may
# call the API, into the name.
function Write-StampedTemplate {
    $names = '(ApiDeployment(?:Cors|NoCors))[0-9a-f]{8}'
    foreach ($pair in $Parameter) {
        if ($pair -cmatch '^AllowedCidrs=(.*)$') { $script:Cidrs = $Matches[1] }
    }
    $text = [IO.File]::ReadAllText((Join-Path $PSScriptRoot 'cloudformation.yaml')).Replace("`r`n", "`n")
    $bytes = [Text.Encoding]::UTF8.GetBytes([regex]::Replace($text, $names, '$1') + $script:Cidrs)
    $hash = [Security.Cryptography.SHA256]::Create().ComputeHash($bytes)
    $stamp = [BitConverter]::ToString($hash).Replace('-', '').Substring(0, 8).ToLowerInvariant()
    $script:Template = Join-Path $script:Work 'cloudformation.yaml'
    [IO.File]::WriteAllText($script:Template, [regex]::Replace($text, $names, "`${1}$stamp"))
}

function Publish-Stack {
    $overrides = @("Environment=$Environment", "Architecture=$($script:Architecture)", "ArtifactBucket=$($script:Bucket)", "ArtifactKey=$($script:Key)", "ArtifactVersion=$($script:Version)")
    $overrides += @(Get-LogRole)
    $tags = @($Tag)
    if ($script:Status -ne 'none') { $tags += @(Get-OtherTags) }
    $tagging = if ($tags.Count) { @('--tags') + $tags } else { @() }
    aws cloudformation validate-template --template-body "file://$($script:Template)" | Out-Null
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the template is invalid' }
    Invoke-WithEvents (@('cloudformation', 'deploy', '--stack-name', $script:StackName, '--template-file', $script:Template, '--no-fail-on-empty-changeset',
            '--capabilities', 'CAPABILITY_NAMED_IAM') + $tagging + @('--parameter-overrides') + $overrides + $Parameter)
}

# Returns the parameter ApiLogRole, or nothing if its value stays. If the account names a role for API logs
# that exists, that role is kept, whether or not this stack created it. Otherwise the stack creates one.
function Get-LogRole {
    if (-not (Invoke-Attempt { aws apigateway get-account --query cloudwatchRoleArn --output text })) { Stop-Deployment $script:Complaint }
    $role = $script:Reply
    $name = ($role -split '/')[-1]
    if ($role -eq 'None') { return 'ApiLogRole=create' }
    if (-not (Invoke-Attempt { aws iam get-role --role-name $name --query Role.Arn --output text }) -and $script:Complaint -match 'NoSuchEntity') {
        Write-Step "the account's role for API logs, $role, no longer exists: this stack creates another one"
        return 'ApiLogRole=create'
    }
    if (-not (Invoke-Attempt { aws cloudformation describe-stack-resource --stack-name $script:StackName --logical-resource-id ApiAccountRole })) { return 'ApiLogRole=existing' }
}

# Returns the stack's tags that -Tag does not replace: an update removes the tags that it does not repeat.
function Get-OtherTags {
    if (-not (Invoke-Attempt { aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].Tags[].[Key,Value]' --output text })) { Stop-Deployment $script:Complaint }
    foreach ($line in $script:Reply -split "`n") {
        $name, $value = $line -split "`t", 2
        if (-not $name -or $name -eq 'None' -or $name -like 'aws:*') { continue }
        if (@($Tag | Where-Object { $_.StartsWith("$name=") })) { continue }
        "$name=$value"
    }
}

function Write-Outputs {
    $file = "outputs-$Environment.json"
    $json = aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].Outputs' --output json
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    [IO.File]::WriteAllLines((Join-Path (Get-Location) $file), [string[]] $json)
    aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].Outputs[].[OutputKey,OutputValue]' --output table | Out-Host
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    Write-Step "the outputs were written to $file"
}

function Test-Deployment {
    $peer = "smoke-$(Get-Random)"
    $endpoint = aws cloudformation describe-stacks --stack-name $script:StackName --query "Stacks[0].Outputs[?OutputKey=='ApiEndpoint'] | [0].OutputValue" --output text
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the outputs could not be read' }
    # For tests: the AWS stand-in creates the API but does not run it.
    if ($env:AURORA_SMOKE_ENDPOINT) { $endpoint = $env:AURORA_SMOKE_ENDPOINT }
    Write-Step "smoke test of $endpoint"
    $body = @{ peer_id = $peer } | ConvertTo-Json -Compress
    $registration = @{ peer_id = $peer; archetypes = @('smoke-test') } | ConvertTo-Json -Compress
    Test-Response '"healthy"' "$endpoint/health"
    Test-Response 'Peer registered successfully' "$endpoint/register" $registration
    Test-Response $peer "$endpoint/discover?archetype=smoke-test"
    Test-Response 'Heartbeat updated' "$endpoint/heartbeat" $body
    Test-Response 'Peer deregistered' "$endpoint/deregister" $body
    Write-Step 'deployed: health, register, discover, heartbeat and deregister work'
}

# Repeats the request until the response contains the expected text: a new API, or another instance
# of the function, may lag by seconds.
function Test-Response([string] $Expected, [string] $Uri, [string] $Body) {
    $call = @{ Uri = $Uri; UseBasicParsing = $true; TimeoutSec = 35 }
    if ($Body) { $call += @{ Method = 'Post'; Body = $Body; ContentType = 'application/json' } }
    foreach ($attempt in 1..$SmokeAttempts) {
        try { $response = (Invoke-WebRequest @call).Content } catch { $response = "$($_.Exception.Message) $($_.ErrorDetails.Message)" }
        if ("$response".Contains($Expected)) { return }
        Start-Sleep -Seconds 1
    }
    Stop-Deployment "smoke test: unexpected response from ${Uri}: $response`nsee: aws logs tail /aws/lambda/aurora-discovery-$Environment --since 10m --region $Region"
}

function Remove-Stack {
    if ($script:Status -eq 'none') { Stop-Deployment "there is no stack $($script:StackName) in $Region" }
    if (-not (Confirm-Word $script:StackName "This removes $($script:StackName) ($Environment, $Region) with its table and logs. Type the stack's name to continue")) {
        Stop-Deployment 'the name does not match: nothing was removed'
    }
    # Use the id: a deleted stack cannot be found by its name.
    $script:StackName = aws cloudformation describe-stacks --stack-name $script:StackName --query 'Stacks[0].StackId' --output text
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the id of the stack could not be read' }
    aws cloudformation delete-stack --stack-name $script:StackName
    if ($LASTEXITCODE -ne 0) { Stop-Deployment 'the stack could not be removed' }
    Invoke-WithEvents @('cloudformation', 'wait', 'stack-delete-complete', '--stack-name', $script:StackName)
    Remove-Item -ErrorAction SilentlyContinue "outputs-$Environment.json"
    Write-Step "removed, except for the bucket aurora-p2p-artifacts-$($script:Account)-$Region and, if this stack created it, the account's role for API logs"
}

# Runs aws and prints the stack's events meanwhile. If it fails, prints the failed resources.
function Invoke-WithEvents([string[]] $Arguments) {
    $before = @(Get-StackEvents).Count
    $script:Shown = $before
    $quoted = $Arguments | ForEach-Object { if ($_ -match '[\s,]') { "`"$_`"" } else { $_ } }
    $complaints = Join-Path $script:Work 'stderr'
    $running = Start-Process -FilePath aws -ArgumentList $quoted -NoNewWindow -PassThru -RedirectStandardError $complaints
    # Reading the handle keeps it open. Otherwise, the exit code is lost.
    $null = $running.Handle
    while (-not $running.HasExited) {
        Write-StackEvents
        Start-Sleep -Seconds 5
    }
    $running.WaitForExit()
    Write-StackEvents
    $complaint = [IO.File]::ReadAllText($complaints)
    if ($complaint) { [Console]::Error.Write($complaint) }
    if ($running.ExitCode -eq 0) { return }
    if ($complaint -match 'EarlyValidation') { Write-Validation }
    $failed = @(Get-StackEvents | Select-Object -SkipLast $before | Where-Object { $_ -cmatch '^[A-Z_]*FAILED' -and $_ -notmatch 'cancelled' })
    if (-not $failed) { $failed = @('  (none; the reason is printed above)') }
    Stop-Deployment ("failed resources:`n" + ($failed -join "`n")) $running.ExitCode
}

# Prints new events, oldest first.
function Write-StackEvents {
    $new = @(Get-StackEvents | Select-Object -SkipLast $script:Shown)
    $script:Shown += $new.Count
    [array]::Reverse($new)
    $new | Out-Host
}

# Returns the stack's events, newest first.
function Get-StackEvents {
    $query = 'StackEvents[].[ResourceStatus,LogicalResourceId,ResourceStatusReason]'
    $lines = aws cloudformation describe-stack-events --stack-name $script:StackName --query $query --output text 2>$null
    return @($lines | ForEach-Object { $_ -replace '\s+None$', '' })
}

# Prints why CloudFormation rejected the change set before it began. The stack's events do not include this.
function Write-Validation {
    $query = "OperationEvents[?EventType=='VALIDATION_ERROR'].[LogicalResourceId,ValidationName,ValidationStatusReason]"
    [Console]::Error.WriteLine('rejected before anything was changed:')
    if ((Invoke-Attempt { aws cloudformation list-change-sets --stack-name $script:StackName --query 'sort_by(Summaries, &CreationTime)[-1].ChangeSetId' --output text }) -and
        (Invoke-Attempt { aws cloudformation describe-events --change-set-name $script:Reply --filters FailedEvents=true --query $query --output text })) {
        [Console]::Error.WriteLine($script:Reply)
        [Console]::Error.WriteLine('A resource that already exists remains from an earlier stack, or belongs to another one: delete it, then deploy again.')
    }
    else {
        [Console]::Error.WriteLine("  the reason could not be read: update the AWS CLI (describe-events is from November 2025), or open the newest change set of $($script:StackName) in the CloudFormation console")
    }
}

# Runs a command that may fail. Sets Reply to its standard output and Complaint to its standard error,
# and returns whether it succeeded.
function Invoke-Attempt([scriptblock] $Command) {
    $output = @(& $Command 2>&1)
    $succeeded = $LASTEXITCODE -eq 0
    $script:Reply = (@($output | Where-Object { $_ -isnot [Management.Automation.ErrorRecord] }) -join "`n").Trim()
    $script:Complaint = (@($output | Where-Object { $_ -is [Management.Automation.ErrorRecord] } | ForEach-Object { "$_" }) -join ' ').Trim()
    return $succeeded
}

# Asks for a word, unless -Yes was given. Returns whether the answer is that word.
function Confirm-Word([string] $Word, [string] $Question) {
    if ($Yes) { return $true }
    return (Read-Host $Question) -ceq $Word
}

function Write-Step([string] $Text) {
    Write-Host "== $Text"
}

function Stop-Deployment([string] $Reason, [int] $Code = 1) {
    [Console]::Error.WriteLine("deploy.ps1: $Reason")
    exit $Code
}

if ($Help) {
    Get-Help -Detailed $PSCommandPath
    exit 0
}
# PowerShell accepts Prod for prod; AWS does not.
$Environment = $Environment.ToLowerInvariant()
$Architecture = $Architecture.ToLowerInvariant()
if (-not $StackName) {
    $StackName = if ($Environment -eq 'dev') { 'aurora-p2p-discovery' } else { "aurora-p2p-discovery-$Environment" }
}
# The API requires TLS 1.2, and some installations of Windows PowerShell offer only older versions by default.
[Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
# AWS CLI v2 pages its output by default.
$env:AWS_PAGER = ''
$env:AWS_REGION = $Region
$env:AWS_DEFAULT_REGION = $Region
Invoke-Main
